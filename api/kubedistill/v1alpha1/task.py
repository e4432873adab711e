"""spec.task: what the teacher is asked to do."""

import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from kubedistill.v1alpha1.base import Model, cel

TaskType = Literal["Classification", "NLI", "Conversation", "QA"]
Label = Annotated[str, Field(min_length=1, max_length=128)]


def _check_date(text: str) -> str:
    try:
        datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"not a day of the calendar ({error}); write it as 2026-11-27") from error
    return text


Day = Annotated[str, Field(max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_check_date)]

NLI_LABELS = ("entailment", "neutral", "contradiction")
LABEL_TASKS = ("Classification", "NLI")
_NEEDS_LABELS = "labels is required for a Classification task; list the labels an answer may be"
_HAS_NO_LABELS = "labels belongs to Classification and NLI tasks only; remove it"


class Task(Model):
    """What the teacher is asked to do, and how its answers are read."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("self.type != 'Classification' || has(self.labels)", _NEEDS_LABELS),
            ("self.type in ['Classification', 'NLI'] || !has(self.labels)", _HAS_NO_LABELS),
        )
    )

    type: TaskType
    """Kind of task; it decides how answers are checked and which metrics are reported."""
    labels: Annotated[tuple[Label, ...] | None, Field(min_length=2, max_length=512)] = None
    """The labels that an answer may be, 2 to 512. Required for Classification; NLI has three of its own."""
    system_prompt: Annotated[str | None, Field(min_length=1, max_length=32768)] = None
    """System message put before every record, in place of the record's own. Absent: the record's own is kept."""
    date: Day | None = None
    """Today, YYYY-MM-DD, as a chat template that asks for the date is told. Absent: the day the job was created, on one
    machine the day of its first run. Ignored where no template asks."""

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.type == "Classification" and not self.labels:
            raise ValueError(_NEEDS_LABELS)
        if self.type not in LABEL_TASKS and self.labels:
            raise ValueError(_HAS_NO_LABELS)
        if self.labels and len(set(self.labels)) != len(self.labels):
            raise ValueError("labels holds the same label twice; list each label once")
        return self

    @property
    def answer_labels(self) -> tuple[str, ...]:
        """The labels that an answer may be; empty for a task of free text."""
        return self.labels or (NLI_LABELS if self.type == "NLI" else ())
