"""spec.task: the task of the teacher."""

import datetime
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, ValidationInfo, WithJsonSchema, model_validator

from kubedistill.canonical import canonical_json
from kubedistill.patterns import compile_pattern
from kubedistill.stored import is_stored
from kubedistill.v1alpha1.base import ONE_LINE, SOME_LINES, Model, Word, cel

TaskType = Literal["Classification", "NLI", "Conversation", "QA", "Math", "Summarization", "Text"]


def _check_date(text: str) -> str:
    try:
        datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"not a day of the calendar ({error}); write it as 2026-11-27") from error
    return text


Day = Annotated[str, Field(max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_check_date)]

NLI_LABELS = ("entailment", "neutral", "contradiction")
# Task types whose answers are labels, with their labels; if there are none, the manifest must declare them. Answers of
# all other task types are free text.
LABELS: Mapping[str, tuple[str, ...]] = {"Classification": (), "NLI": NLI_LABELS}
_DECLARED = tuple(kind for kind, own in LABELS.items() if not own)
_NEEDS_LABELS = f"labels is required for a {' or '.join(_DECLARED)} task; list the labels an answer may be"
_HAS_NO_LABELS = f"labels are only for {' and '.join(LABELS)} tasks; remove them"
REASONED: tuple[TaskType, ...] = ("Classification", "NLI", "QA", "Math")
"""Task types with a short final answer, which a chain of thought can end in."""
_NO_FINAL_ANSWER = f"chainOfThought is only for {', '.join(REASONED[:-1])} and {REASONED[-1]} tasks; remove it"
_ONLY_TEXT = "prompt and answer are only for Text tasks; remove them"
_ONE_FORM = "exactly one of regex, jsonSchema and labels must be set; leave out answer if any answer is valid"
_RE2 = "regex must be a regular expression in the syntax of RE2"
_HAS_FORMS = ", ".join(f"has(self.{form})" for form in ("regex", "jsonSchema", "labels"))
_MAX_SCHEMA_BYTES = 32_768
_NO_SUMMARY = "maxSummaryWords and chainOfDensity are only for Summarization tasks; remove them"
_PADDED = "labels contains a label with leading or trailing white space; remove the white space"


def label_key(text: str) -> str:
    """Return what two spellings of one label have in common: outer white space, case and Unicode form are ignored.

    Canonical caseless matching, as in the Unicode Standard, section 3.13, definition D145.
    """
    folded = unicodedata.normalize("NFD", text.strip()).casefold()
    return unicodedata.normalize("NFC", folded)


def find_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the label, as the manifest declares it, that a string matches; None if it matches none."""
    return _by_key(tuple(labels)).get(label_key(text))


@lru_cache(maxsize=8)
def _by_key(labels: tuple[str, ...]) -> dict[str, str]:
    return {label_key(label): label for label in labels}


def _check_regex(pattern: str) -> str:
    compile_pattern(pattern, whole=True)
    return pattern


def _check_schema_size(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if (size := len(canonical_json(schema))) > _MAX_SCHEMA_BYTES:
        raise ValueError(f"it has {size:,} bytes, and at most {_MAX_SCHEMA_BYTES:,} are allowed")
    return schema


class AnswerForm(Model):
    """What a valid answer is, for tasks of type Text; surrounding white space does not count."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (f"[{_HAS_FORMS}].filter(one, one).size() == 1", _ONE_FORM),
            ("!has(self.regex) || ''.matches(self.regex) in [true, false]", _RE2),
            ("!has(self.labels) || self.labels.all(label, label == label.trim())", _PADDED),
        )
    )

    regex: Annotated[str, Field(min_length=1, max_length=1024), ONE_LINE, AfterValidator(_check_regex)] | None = None
    """Regular expression that the whole answer matches, in the syntax of RE2: without look-around and backreferences.
    Two answers are equal by evaluation.answerComparison."""
    json_schema: (
        Annotated[
            dict[str, JsonValue],
            AfterValidator(_check_schema_size),
            WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        ]
        | None
    ) = None
    """JSON Schema, draft 2020-12, of the JSON value that an answer is. Two answers are equal if their values are."""
    labels: Annotated[tuple[Word, ...] | None, Field(min_length=2, max_length=512)] = None
    """Labels that an answer may be, 2 to 512, as labels of a Classification."""

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        if len([form for form in (self.regex, self.json_schema, self.labels) if form is not None]) != 1:
            raise ValueError(_ONE_FORM)
        _check_distinct(self.labels or ())
        return self


class Task(Model):
    """The task of the teacher, and how its answers are read."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (" && ".join(f"self.type != '{kind}'" for kind in _DECLARED) + " || has(self.labels)", _NEEDS_LABELS),
            (f"self.type in {list(LABELS)} || !has(self.labels)", _HAS_NO_LABELS),
            ("!has(self.labels) || self.labels.all(label, label == label.trim())", _PADDED),
            (
                "self.type == 'Summarization' || "
                "!has(self.maxSummaryWords) && (!has(self.chainOfDensity) || !self.chainOfDensity)",
                _NO_SUMMARY,
            ),
            (f"self.type in {list(REASONED)} || !has(self.chainOfThought) || !self.chainOfThought", _NO_FINAL_ANSWER),
            ("self.type == 'Text' || !has(self.prompt) && !has(self.answer)", _ONLY_TEXT),
        )
    )

    type: TaskType
    """Kind of task; it decides how answers are checked and which metrics are reported."""
    labels: Annotated[tuple[Word, ...] | None, Field(min_length=2, max_length=512)] = None
    """Labels that an answer may be, 2 to 512. Required for Classification; NLI has three of its own.

    Answers and references match a label regardless of case, Unicode form and surrounding white space."""
    system_prompt: Annotated[str, Field(min_length=1, max_length=32768), SOME_LINES] | None = None
    """System message for every record; it replaces the record's own. Absent: the record's own is kept."""
    chain_of_thought: bool = False
    """Ask the teacher to reason step by step before it answers. Its reply must end in a line such as "Answer: neutral";
    others are rejected as NoFinalAnswer. The student learns the final answer alone. Only for
    Classification, NLI, QA and Math."""
    keep_reasoning: bool = False
    """Let the student learn the reasoning too. After a chain of thought, it is then asked to reason in training and
    evaluation. Reasoning between tags such as <think> is kept if teacher and student have one chat format."""
    prompt: Annotated[str, Field(min_length=1, max_length=32768), SOME_LINES] | None = None
    """Only for Text: Jinja template of the user message, with the keys of a record as variables, such as
    `{{ question }}`; not its reference. Absent: a record has its own prompt or messages."""
    answer: AnswerForm | None = None
    """Only for Text: what a valid answer is. Absent: any text that is not blank."""
    max_summary_words: Annotated[int | None, Field(ge=10, le=1000)] = None
    """Maximum length of a summary in words, 10 to 1,000. Teacher and student are asked for it, and the teacher's longer
    summaries are rejected as TooManyWords. Absent: no maximum."""
    chain_of_density: bool = False
    """Ask the teacher to rewrite its summary 4 times, each time with more of the text's entities in the same number of
    words (Adams et al. 2023). The student learns the last summary alone. Only for Summarization."""
    date: Day | None = None
    """Today's date, YYYY-MM-DD, for chat templates that ask for it. Absent: the day on which the job was created;
    on one machine, the day of its first run. Ignored if no template asks for it."""

    @model_validator(mode="after")
    def _check_parts(self, info: ValidationInfo) -> Self:
        """Check that fields are set only for the tasks that they are for, and that labels differ."""
        if self.type in _DECLARED and not self.labels:
            raise ValueError(_NEEDS_LABELS)
        if self.type not in LABELS and self.labels:
            raise ValueError(_HAS_NO_LABELS)
        if self.type not in REASONED and self.chain_of_thought:
            raise ValueError(_NO_FINAL_ANSWER)
        if self.type != "Text" and (self.prompt or self.answer):
            raise ValueError(_ONLY_TEXT)
        if self.type != "Summarization" and (self.max_summary_words is not None or self.chain_of_density):
            raise ValueError(_NO_SUMMARY)
        if not is_stored(info):  # 0.1 took labels that differ in case or white space alone
            _check_distinct(self.labels or ())
        return self

    @property
    def answers_alone(self) -> bool:
        """Whether the student learns only the final answers of the teacher's replies."""
        return self.chain_of_density or (self.chain_of_thought and not self.keep_reasoning)

    @property
    def answer_labels(self) -> tuple[str, ...]:
        """Return the labels that an answer may be; empty for a free-text task."""
        chosen = self.answer.labels if self.answer else self.labels
        return chosen or LABELS.get(self.type, ())


def _check_distinct(labels: Sequence[str]) -> None:
    """Refuse labels that no answer can match, and labels that no answer can tell apart."""
    seen: dict[str, str] = {}
    for label in labels:
        if label != label.strip():
            raise ValueError(_PADDED)
        key = label_key(label)
        if key in seen:
            raise ValueError(
                f"labels contains the same label twice, as {seen[key]!r} and {label!r}; "
                "case and Unicode form do not count, so keep one of them"
            )
        seen[key] = label
