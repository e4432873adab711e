"""The workload of a job: its records and the tokens of its prompts and answers, as far as known before it runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.checks.input import sample_test
from kubedistill_runtime.records import Record, Split, open_turns
from kubedistill_runtime.teachers.routing import route

_SAMPLE = 256
"""Records whose tokens are counted."""
_LABEL_TOKENS = 8
_BYTES_PER_TOKEN = 4
_SHARE_OF_LIMIT = 0.5
"""Length of answers of which nothing is known, relative to generation.maxTokens."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How many replies there are, and how long prompts and replies are on average, in tokens."""

    train: int
    """Prompts that the student learns from, all samples counted."""
    asked: dict[str, int]
    """Replies of each teacher, by name."""
    tested: int
    """Replies of each student."""
    prompt_tokens: float
    answer_tokens: float
    assumptions: tuple[str, ...]
    """How the lengths were found, as sentences without a period."""


def find_workload(splits: Mapping[Split, Sequence[Record]], *, spec: Spec, chat: ChatFormat | None) -> Workload:
    """Return the workload of a job's records; without a chat format, four bytes count as a token."""
    splits = sample_test(splits, spec=spec)
    samples = 0 if spec.data.train.answers == "Given" else spec.generation.samples_per_prompt
    asked: Counter[str] = Counter()
    for split, records in splits.items():
        for record in records:
            times = samples if split == "train" else 1
            for name in route(record, teachers=spec.teachers, routing=spec.generation.routing):
                asked[name] += len(open_turns(record)) * times
    known = [*splits["test"], *splits["train"]]
    prompt_tokens = _mean([_prompt_tokens(record, chat=chat) for record in known[:_SAMPLE]])
    answer_tokens, assumption = _answer_tokens(known, spec=spec, chat=chat)
    read = "tokenizer" if chat is not None else f"size in bytes ({_BYTES_PER_TOKEN} per token)"
    return Workload(
        train=sum(len(open_turns(record)) for record in splits["train"]) * max(1, samples),
        asked=dict(asked),
        tested=sum(len(open_turns(record)) for record in splits["test"]),
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        assumptions=(
            f"prompts are as long as the first prompts of up to {_SAMPLE} records, by the {read}: "
            f"{prompt_tokens:.0f} tokens",
            assumption,
        ),
    )


def _answer_tokens(records: Sequence[Record], *, spec: Spec, chat: ChatFormat | None) -> tuple[float, str]:
    """Return the tokens of a reply, and how they were found."""
    limit = spec.generation.max_tokens
    if spec.task.answer_labels and not spec.task.chain_of_thought:
        return min(_LABEL_TOKENS, limit), f"answers are labels of {_LABEL_TOKENS} tokens"
    references = [text for record in records[:_SAMPLE] for text in record.references[:1]]
    if references and not spec.task.chain_of_thought:
        tokens = _mean([_count(text, chat=chat) for text in references])
        return min(tokens, limit), f"answers are as long as the references: {tokens:.0f} tokens"
    tokens = limit * _SHARE_OF_LIMIT
    return tokens, f"answers have {_SHARE_OF_LIMIT:.0%} of generation.maxTokens, since nothing is known: {tokens:.0f}"


def _prompt_tokens(record: Record, *, chat: ChatFormat | None) -> float:
    """Return the tokens of a record's first prompt."""
    first = open_turns(record)[0]
    if chat is None:
        return sum(_count(message.content, chat=None) for message in first)
    return len(chat.prompt_ids(first))


def _count(text: str, *, chat: ChatFormat | None) -> float:
    if chat is None:
        return len(text.encode()) / _BYTES_PER_TOKEN
    return len(chat.tokenizer.encode(text, add_special_tokens=False))


def _mean(numbers: Sequence[float]) -> float:
    return mean(numbers) if numbers else 0.0
