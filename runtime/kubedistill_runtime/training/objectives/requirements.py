"""Requirements of objectives on a job: functions that return an obstacle, or None."""

from collections.abc import Callable
from dataclasses import dataclass

from kubedistill.errors import InvalidInput, InvalidManifest, TokenizerMismatch
from kubedistill_runtime.chat.comparison import TokenizerComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The properties of a job that objectives depend on."""

    given: bool
    """Whether the answers are given rather than the teacher's."""
    tokenizers: TokenizerComparison
    k: int
    """Alternatives stored per token."""
    answers_alone: bool
    """Whether the student learns only the final answers of the teacher's replies."""
    constrained: bool
    """Whether the teacher's replies are forced into a form."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an objective is not possible, and the fix and error class if the manifest requests it."""

    reason: str
    fix: str
    error: type[InvalidInput] = InvalidManifest


Requirement = Callable[[Supply], Obstacle | None]


def teacher_answers(supply: Supply) -> Obstacle | None:
    """Require answers that the teacher generated."""
    reason = "the answers are given, so the teacher's distribution over them is not known"
    return Obstacle(reason, "Use Sequence") if supply.given else None


def whole_replies(supply: Supply) -> Obstacle | None:
    """Require that the student learns the ids that the teacher generated."""
    reason = "the student learns the final answers alone, and the teacher's distributions belong to its whole replies"
    return Obstacle(reason, "Set task.keepReasoning: true, or use Sequence") if supply.answers_alone else None


def free_replies(supply: Supply) -> Obstacle | None:
    """Require replies whose distributions are the teacher's own."""
    reason = "structuredOutput leaves only tokens that the form allows, whose distribution is not the teacher's own"
    return Obstacle(reason, "Remove structuredOutput, or use Sequence") if supply.constrained else None


def one_tokenizer(supply: Supply) -> Obstacle | None:
    """Require that ids mean the same to teacher and student."""
    if supply.tokenizers.shared:
        return None
    return Obstacle(supply.tokenizers.difference, "Use Auto or Sequence", TokenizerMismatch)


def stored_logprobs(supply: Supply) -> Obstacle | None:
    """Require that the teacher's distribution is stored."""
    return None if supply.k else Obstacle("topLogprobs is 0", "Remove generation.topLogprobs")
