"""spec.evaluation and spec.export: how the student is judged, and what leaves the job."""

from typing import Annotated, Literal

from pydantic import Field

from kubedistill.v1alpha1.base import Count, Fraction, Model, Uri

AnswerComparison = Literal["Default", "SQuAD"]
Signed = Annotated[float, Field(ge=-1, le=1)]


class Gate(Model):
    """What the distilled student must reach to be exported; every limit that is set must hold."""

    min_accuracy: Fraction | None = None
    """Least accuracy on test, 0 to 1. Needs references."""
    min_gain: Signed | None = None
    """Least accuracy above the baseline's, -1 to 1. Needs references."""
    min_gap_closed: Signed | None = None
    """Least share of the way from baseline to teacher, -1 to 1. Needs references."""
    min_retention: Annotated[float | None, Field(ge=0, le=2)] = None
    """Least accuracy as a share of the teacher's, 0 to 2. Needs references."""
    max_latency_ratio: Annotated[float | None, Field(gt=0, le=100)] = None
    """Most latency as a share of the teacher's, above 0 to 100. Not checked where the report calls latency noise."""
    max_invalid_rate: Fraction | None = None
    """Most answers in a wrong form, 0 to 1."""
    require_significance: bool = True
    """Refuse a student that can't be told from the baseline (paired test, p < 0.05)."""

    @property
    def limits(self) -> list[str]:
        """The names of the limits that are set, as in a manifest; requireSignificance is one unless it is false."""
        values = self.model_dump(by_alias=True)
        return [name for name, value in values.items() if value is not None and value is not False]


class Evaluation(Model):
    """How the student is judged against its teacher and against itself before training."""

    sample_limit: Count | None = None
    """Test records that are judged at most, chosen by a hash of their ids; at least 8. Absent: all."""
    answer_comparison: AnswerComparison = "Default"
    """When two QA answers are equal. Default: numbers by value, text whatever its case and outer punctuation, with
    signs, decimal marks, percent, fractions and symbols kept; the guide lists examples. SQuAD: without ASCII
    punctuation and English articles, as in that benchmark."""
    gate: Gate = Gate()
    """What the distilled student must reach to be exported."""


class Export(Model):
    """One form in which the student leaves the job."""

    format: Literal["Safetensors"] = "Safetensors"
    """Safetensors: a folder that transformers and vLLM load."""
    uri: Uri | None = None
    """Folder that a copy is put into; relative to the data root. Absent: only in the job's store."""
