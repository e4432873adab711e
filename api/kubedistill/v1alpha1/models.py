"""spec.teachers and spec.student: which models, and where they run."""

from typing import Annotated, Literal

from pydantic import Field

from kubedistill.v1alpha1.base import ONE_LINE, Model, Name, Uri, Word


class TeacherModel(Model):
    """A teacher that this job serves itself, on vLLM."""

    source: Uri
    """Location of the weights: hf://organization/name, or a folder; without a scheme, relative to the data root."""
    revision: Word | None = None
    """Branch, tag or commit of a hub model. Absent: its main branch, resolved once and recorded."""
    max_model_len: Annotated[int | None, Field(ge=16, le=1_048_576)] = None
    """Maximum length of prompt and answer together, in tokens, 16 to 1,048,576. Longer prompts are dropped as TooLong.
    Absent: 4,096, or what the model supports if that is less."""
    dtype: Literal["Auto", "BFloat16", "Float16", "Float32"] = "Auto"
    """Precision of weights and cache. Auto: Float32 on a CPU, the checkpoint's own precision on a GPU."""
    quantization: Annotated[str, Field(min_length=1, max_length=32), ONE_LINE] | None = None
    """vLLM's name of a quantization method. Absent: the checkpoint's own."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of GPUs that share each layer, 1 to 64; keep it within a node."""
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of GPU groups that share the layers in sequence, 1 to 64; they may span nodes."""
    trust_remote_code: bool = False
    """Let the checkpoint run its own Python code. Leave it off unless you have read that code."""


class TeacherResources(Model):
    """Where a teacher runs in a cluster; ignored on one machine."""

    pool: Name | None = None
    """Name of a GPU node pool in the operator's settings."""
    replicas: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of copies of the teacher that share the prompts, 1 to 256."""


class Teacher(Model):
    """One named teacher."""

    name: Name
    """Name of this teacher, unique in the job."""
    model: TeacherModel
    """A model that this job serves itself."""
    resources: TeacherResources = TeacherResources()
    """Where it runs in a cluster."""


class StudentModel(Model):
    """The checkpoint to train."""

    source: Uri
    """Location of the weights: hf://organization/name, or a folder; without a scheme, relative to the data root."""
    revision: Word | None = None
    """Branch, tag or commit of a hub model. Absent: its main branch, resolved once and recorded."""
    trust_remote_code: bool = False
    """Let the checkpoint run its own Python code. Leave it off unless you have read that code."""


class StudentResources(Model):
    """Where the student is trained."""

    pool: Name | None = None
    """Name of a GPU node pool in the operator's settings; ignored on one machine."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of training workers, 1 to 1,024. They share the global batch, so results do not depend on their number."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs per worker, 0 to 16. 0 trains on CPU."""


class Student(Model):
    """The model to train."""

    model: StudentModel
    """The checkpoint to train; untrained, it is the baseline of the evaluation."""
    resources: StudentResources = StudentResources()
    """Where it is trained."""
