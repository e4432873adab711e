"""spec.evaluation and spec.export: how the student is evaluated, and what is exported."""

from typing import Annotated, Literal

from pydantic import Field

from kubedistill.v1alpha1.base import Count, Fraction, Model, Uri

AnswerComparison = Literal["Default", "SQuAD"]
Signed = Annotated[float, Field(ge=-1, le=1)]


class Gate(Model):
    """Limits that the distilled student must meet to be exported; it must meet every limit that is set."""

    min_accuracy: Fraction | None = None
    """Minimum accuracy on the test records, 0 to 1. Needs references."""
    min_gain: Signed | None = None
    """Minimum gain in accuracy over the baseline, -1 to 1. Needs references."""
    min_gap_closed: Signed | None = None
    """Minimum share of the gap between baseline and teacher that is closed, -1 to 1. Needs references."""
    min_retention: Annotated[float | None, Field(ge=0, le=2)] = None
    """Minimum accuracy as a share of the teacher's, 0 to 2. Needs references."""
    max_latency_ratio: Annotated[float | None, Field(gt=0, le=100)] = None
    """Maximum latency as a share of the teacher's, above 0 to 100. Not checked if the report calls latency noise."""
    max_invalid_rate: Fraction | None = None
    """Maximum share of answers in an invalid form, 0 to 1."""
    require_significance: bool = True
    """Refuse a student that is not distinguishable from the baseline (paired test, p < 0.05)."""

    @property
    def limits(self) -> list[str]:
        """Return the names of the limits that are set, as in a manifest; requireSignificance is one unless false."""
        values = self.model_dump(by_alias=True)
        return [name for name, value in values.items() if value is not None and value is not False]


class Evaluation(Model):
    """How the student is compared with its teacher and with itself before training."""

    sample_limit: Count | None = None
    """Maximum number of test records to evaluate, chosen by a hash of their ids; at least 8. Absent: all."""
    answer_comparison: AnswerComparison = "Default"
    """Rule by which two QA or Text answers are equal, except for JSON, whose values are compared. Default: numbers by
    value, text without regard to case and surrounding punctuation, but with signs, decimal marks, percent signs,
    fractions and symbols; the user guide lists examples.
    SQuAD: without ASCII punctuation and English articles, as in that benchmark."""
    gate: Gate = Gate()
    """Limits that the distilled student must meet to be exported."""


class Export(Model):
    """One format in which the student is exported."""

    format: Literal["Safetensors"] = "Safetensors"
    """Safetensors: a folder that transformers and vLLM load."""
    uri: Uri | None = None
    """Folder for a copy of the export, relative to the data root; in a cluster, one of the claim.

    Absent: only in the job's store.
    """
