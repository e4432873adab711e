"""Preview: what the student would be trained on, before any work is done."""

from collections.abc import Iterator
from itertools import islice

from kubedistill.contract import StageJob
from kubedistill.contract.events import Piece, PreviewEvent, PreviewPrompt, PreviewRecord
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.checks.input import assemble, describe_judged, read_split
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.data_files import data_sources
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.records import SPLITS, Record, open_turns
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.student_format import make_rendering
from kubedistill_runtime.tasks.reasoning import for_student
from kubedistill_runtime.training.rendering import Rendering
from kubedistill_runtime.training.samples import Counts, Sample, make_samples

_RECORDS = 3
_PLACEHOLDER, _REASONING = "(the teacher's answer)", "(the teacher's reasoning)"


def preview(job: StageJob, *, store: Store) -> PreviewEvent:
    """Show three training records as samples, and a prompt of each other split.

    The records are those of Prepare, rendered as Train renders them; a reference stands in for the teacher's answer,
    which does not exist yet. Raises Prepare's errors for the data.
    """
    choices = resolve(job, store=store)
    data = assemble(job, {split: read_split(job, split) for split in data_sources(job.spec)})
    rendering = make_rendering(choices)
    shown = [
        _show(for_student(record, job.spec.task), job=job, rendering=rendering, max_length=choices.max_length)
        for record in data.splits["train"][:_RECORDS]
    ]
    firsts = {split: for_student(data.splits[split][0], job.spec.task) for split in SPLITS[1:] if data.splits[split]}
    asked = {split: _ask(record, chat=rendering.chat) for split, record in firsts.items()}
    return PreviewEvent(
        records=shown,
        asked=dict(asked.items()),
        notes=[*data.notes, *describe_judged(data.splits["test"], spec=job.spec)],
        objective=choices.objective,
        objective_reason=choices.objective_reason,
    )


def _ask(record: Record, *, chat: ChatFormat) -> PreviewPrompt:
    """Return the prompt of a record's first reply, as the student receives it, and the record's references."""
    text = chat.tokenizer.decode(chat.prompt_ids(open_turns(record)[0]))
    return PreviewPrompt(id=record.id, prompt=text, references=list(record.references))


def _show(record: Record, *, job: StageJob, rendering: Rendering, max_length: int) -> PreviewRecord:
    task, every_turn = job.spec.task, job.spec.data.train.targets == "All"
    reasons = task.chain_of_thought and task.keep_reasoning
    answered = _stand_in(record, every_turn=every_turn, reasons=reasons)
    counts = Counts()
    samples = list(make_samples([answered], rendering=rendering, max_length=max_length, counts=counts))
    pieces = [piece for sample in samples for piece in _pieces(sample, chat=rendering.chat)]
    tokens = sum(len(one.ids_L) for one in samples)
    return PreviewRecord(id=record.id, pieces=pieces, tokens=tokens, overlong=counts.overlong)


def _stand_in(record: Record, *, every_turn: bool, reasons: bool) -> AnsweredRecord:
    """Return the record with an answer to each turn that a model would answer, or a placeholder if it is not known."""
    if every_turn and record.references:
        return given_answers([record], every_turn=True)[0]
    unknown = len(open_turns(record)) - 1
    last = next(iter(record.references), _PLACEHOLDER)
    replies = [*[_PLACEHOLDER] * unknown, f"{_REASONING}\nAnswer: {last}" if reasons else last]
    return AnsweredRecord(record, 0, Answer("preview", tuple(Turn((), (), reply, "stop") for reply in replies)))


def _pieces(sample: Sample, *, chat: ChatFormat) -> Iterator[Piece]:
    """Yield runs of ids that are all scored or all not scored; each end token is a separate piece."""
    ids, scored = sample.ids_L.tolist(), sample.scored_L.tolist()
    kinds = [(mark, token in chat.stop_ids) for token, mark in zip(ids, scored, strict=True)]
    start = 0
    for place in range(1, len(ids) + 1):
        if place == len(ids) or kinds[place] != kinds[start] or kinds[start][1]:
            text = chat.tokenizer.decode(list(islice(ids, start, place)))
            yield Piece(text=text, scored=kinds[start][0], end=kinds[start][1])
            start = place
