"""spec.curation: from answers to a training set."""

from typing import Annotated, Literal

from pydantic import Field

from kubedistill.v1alpha1.base import Fraction, Model

Select = Literal["All", "Verified", "Majority", "VerifiedElseMajority"]

TraceLength = Literal["Auto", "Any"]


class Filters(Model):
    """Which filters judge the quality of an answer. Missing, cut off and empty answers are always rejected.

    The defaults follow the largest published comparison (OpenThoughts, arXiv 2506.04178): judging the form of answers
    and the questions helps, judging whether an answer is right does not."""

    format: bool = True
    """Reject answers that are not in the task's form, such as an unknown label."""
    refusal: bool | None = None
    """Reject answers that only decline to answer. Labels are never refusals. Absent: true, except for Conversation,
    where a refusal may be the right reply."""
    language: bool = True
    """Reject answers mostly in a script, such as Chinese, that the prompt neither has nor asks for. Languages of one
    script, and Latin letters, are not told apart."""
    length: bool = True
    """Reject summaries that are not shorter than their text."""
    repetition: bool = True
    """Reject answers that repeat one phrase many times."""
    duplicates: bool = True
    """Reject an answer if another record has the same messages and the same answer."""
    near_duplicates: bool = False
    """Reject the answers to a record if 90 % of its prompt's runs of 3 words are those of an earlier record. Off,
    because different questions about one long passage are near-duplicates too."""


class Curation(Model):
    """Which answers are good enough to learn from."""

    filters: Filters = Filters()
    """Which filters judge the quality of an answer."""
    select: Select = "All"
    """Which answers to one prompt are kept. All: every one. Verified: those that match a reference; a record without
    references keeps none. Majority: those that equal the most frequent answer. VerifiedElseMajority: Majority where a
    record has no reference. The last three need a task whose answers can be equal: labels, QA, Math or Text."""

    trace_length: TraceLength = "Any"
    """Which of several right answers to a prompt are kept. Any: all that select keeps. Auto: for a student of up to 3
    billion parameters, the shortest answer that matches a reference, and none that does not; small students learn less
    from long reasoning (arXiv 2502.12143). Records without references are not affected."""
    max_share: Annotated[float | None, Field(gt=0, le=1)] = None
    """Maximum share of the kept answers with one label or, for free text, with one length (between two powers of 2 in
    words, such as 8 to 15), above 0 to 1. Surplus answers are rejected by a hash. Absent: no maximum."""
    min_keep_ratio: Fraction = 0.7
    """Minimum share of prompts with a kept answer, 0 to 1; below it, the stage fails with LowYield. Answers beyond
    maxShare count as kept here."""
