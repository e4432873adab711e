"""Whether the student supports the lengths of the job's sequences, in its own tokens."""

from collections.abc import Mapping, Sequence

from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.checks.prompts import count_tokens
from kubedistill_runtime.checks.splits import MIN_RECORDS
from kubedistill_runtime.choices import STUDENT_AT, Choices
from kubedistill_runtime.models import Model, original_positions
from kubedistill_runtime.records import SPLITS, Record, Split
from kubedistill_runtime.student_format import student_context


def check_student_lengths(
    splits: Mapping[Split, Sequence[Record]], *, choices: Choices, chat: ChatFormat, places: Mapping[Split, str]
) -> list[str]:
    """Count the prompts that leave the student no room for an answer; returns notes about them.

    Raises InvalidManifest if no training prompt fits, and InvalidData if too few test prompts do.
    """
    context = student_context(choices)
    limits: dict[Split, int] = {"train": choices.max_length, "validation": choices.max_length, "test": context}
    long = {
        split: _count_long(splits[split], chat=chat, model=choices.student, limit=limits[split]) for split in SPLITS
    }
    if long["train"] == len(splits["train"]):
        raise InvalidManifest(
            f"each of the {long['train']} training prompts has {limits['train']} of the student's tokens or more",
            at="spec.training.maxLength",
            fix="Raise it, shorten the prompts, or use a student with more positions",
        )
    if len(splits["test"]) - long["test"] < MIN_RECORDS["test"]:
        raise InvalidData(
            f"{long['test']} of {len(splits['test'])} test prompts do not fit into the student's {context} tokens",
            at=places["test"],
            fix="Shorten the prompts, or use a student with more positions",
        )
    return [*_warnings(splits, long=long, limits=limits), *_original_warning(choices)]


def _count_long(records: Sequence[Record], *, chat: ChatFormat, model: Model, limit: int) -> int:
    return sum(count_tokens(record, chat=chat, model=model, at=STUDENT_AT) >= limit for record in records)


def _warnings(
    splits: Mapping[Split, Sequence[Record]], *, long: Mapping[Split, int], limits: Mapping[Split, int]
) -> list[str]:
    consequence = {
        "train": "are not trained on",
        "validation": "are not validated on",
        "test": "count as unanswered",
    }
    return [
        f"{long[split]} of {len(splits[split])} {split} prompts have {limits[split]} tokens or more, as the "
        f"student's tokenizer counts, and {consequence[split]}"
        for split in SPLITS
        if long[split]
    ]


def _original_warning(choices: Choices) -> list[str]:
    original = original_positions(choices.student.config)
    if original is None or choices.max_length <= original:
        return []
    return [
        f"training.maxLength {choices.max_length} is beyond the student's original length of {original} positions "
        "(LongRoPE): shorter samples are trained with other frequencies than the student is served with"
    ]
