"""spec.teachers and spec.student: which models, and where they run."""

from typing import Annotated, Literal

from pydantic import Field

from kubedistill.v1alpha1.base import ONE_LINE, Model, Name, Uri, Word


class TeacherModel(Model):
    """A teacher that this job serves itself, on vLLM."""

    source: Uri
    """Where the weights are: hf://organisation/name, or a folder; without a scheme it is relative to the data root."""
    revision: Word | None = None
    """Branch, tag or commit of a hub model. Absent: its main branch, resolved once and recorded."""
    max_model_len: Annotated[int | None, Field(ge=16, le=1_048_576)] = None
    """Longest prompt and answer together, in tokens, 16 to 1,048,576. Longer prompts are dropped as TooLong.
    Absent: 4,096, or what the model was made for if that is less."""
    dtype: Literal["Auto", "BFloat16", "Float16", "Float32"] = "Auto"
    """Precision of weights and cache. Auto: Float32 on a CPU, the checkpoint's own on a GPU."""
    quantization: Annotated[str, Field(min_length=1, max_length=32), ONE_LINE] | None = None
    """vLLM's name of a quantisation method. Absent: as the checkpoint says."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share each layer, 1 to 64; keep it inside a node."""
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Groups of GPUs that share the layers in sequence, 1 to 64; it may span nodes."""
    trust_remote_code: bool = False
    """Let the checkpoint run Python code of its own. Off unless you have read that code."""


class TeacherResources(Model):
    """Where a teacher runs in a cluster; ignored on one machine."""

    pool: Name | None = None
    """Name of a GPU node pool in the operator's settings."""
    replicas: Annotated[int, Field(ge=1, le=256)] = 1
    """Copies of the teacher that share the prompts, 1 to 256."""


class Teacher(Model):
    """One teacher, by name."""

    name: Name
    """Name of this teacher, unique in the job."""
    model: TeacherModel
    """A model that this job serves itself."""
    resources: TeacherResources = TeacherResources()
    """Where it runs in a cluster."""


class StudentModel(Model):
    """The checkpoint that is trained."""

    source: Uri
    """Where the weights are: hf://organisation/name, or a folder; without a scheme it is relative to the data root."""
    revision: Word | None = None
    """Branch, tag or commit of a hub model. Absent: its main branch, resolved once and recorded."""
    trust_remote_code: bool = False
    """Let the checkpoint run Python code of its own. Off unless you have read that code."""


class StudentResources(Model):
    """Where the student is trained."""

    pool: Name | None = None
    """Name of a GPU node pool in the operator's settings; ignored on one machine."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Training workers, 1 to 1,024. The global batch is shared among them, so results do not depend on their number."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs of each worker, 0 to 16. 0 trains on CPU."""


class Student(Model):
    """The model that learns."""

    model: StudentModel
    """The checkpoint that is trained; untrained, it is the baseline that the result is judged against."""
    resources: StudentResources = StudentResources()
    """Where it is trained."""
