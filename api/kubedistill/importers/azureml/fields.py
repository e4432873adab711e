"""The table of fields of an Azure ML distillation job, and the fields that they become. docs/migration.md shows it.

To support one more field, give its row a target. A source that ends with `.*` matches all fields below it.
"""

from dataclasses import dataclass
from typing import Any

from kubedistill.importers.azureml.readers import (
    Reader,
    read_count,
    read_data,
    read_generation_type,
    read_label,
    read_name,
    read_number,
    read_registered_name,
    read_student,
    read_switch,
    read_task,
    read_teacher,
    read_text,
)

_CONNECTION = "teacher_model_endpoint_connection"
_INFERENCE = "teacher_model_settings.inference_parameters"
_REQUESTS = "teacher_model_settings.endpoint_request_settings"
_GENERATED = "Azure ML writes it, and it has no effect"
_NO_ENDPOINT = "the teacher runs in your cluster; to keep the endpoint, write it as spec.teachers[].endpoint"
_NO_PENALTY = "answers are sampled without penalties"
_IN_PLACE = "files are read where they are"
_ONE_FILE = "data is one JSONL file"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the field that it becomes, or why there is none."""

    source: str
    """Its path in the Azure ML manifest."""
    target: str = ""
    """The path of the field in the DistillationJob, without `key`; empty if there is none."""
    read: Reader | None = None
    """How to read the value; with a reader and without a target, the value is only checked."""
    why: str = ""
    """Without a target, why there is none; otherwise the difference, for the documentation."""
    key: str = ""
    """The key in a target that is a map, such as metadata.labels."""
    quiet: tuple[Any, ...] = ()
    """Values that have no effect, so the field is not set, and there is no remark about them."""

    @property
    def path(self) -> tuple[str, ...]:
        """The target as a location."""
        return (*self.target.split("."), *([self.key] if self.key else []))


FIELDS: tuple[Field, ...] = (
    Field("type", read=read_text, why="only `distillation` is supported"),
    Field("$schema", read=read_text, why="only editors use it"),
    Field("name", "metadata.name", read_name, "at most 32 lower case letters, digits and dashes"),
    Field(
        "experiment_name", "metadata.labels", read_label, "a label, to select jobs by", key="kubedistill.io/experiment"
    ),
    Field("description", "metadata.annotations", read_text, key="kubernetes.io/description"),
    Field("display_name", why="a job has one name"),
    Field("tags", why="write them as metadata.labels"),
    Field("properties", why=_GENERATED),
    Field("data_generation_type", read=read_generation_type, why="every job generates labels"),
    Field("data_generation_task_type", "spec.task.type", read_task),
    Field(f"{_CONNECTION}.name", "spec.teachers", read_teacher, "the model in the table of models, served by vLLM"),
    Field(f"{_CONNECTION}.endpoint", why=_NO_ENDPOINT),
    Field(f"{_CONNECTION}.api_key", why=f"{_NO_ENDPOINT}; a key belongs in a Secret, not in a manifest"),
    Field(f"{_CONNECTION}.type", why=_NO_ENDPOINT),
    Field("student_model.path", "spec.student.model", read_student, "the model in the table of models"),
    Field("student_model.type", why="the source says what it is", quiet=("mlflow_model", "custom_model", "uri_file")),
    Field("training_data.path", "spec.data.train.uri", read_data, "a path; download files from Azure first"),
    Field("training_data.type", why=_ONE_FILE, quiet=("uri_file",)),
    Field("training_data.mode", why=_IN_PLACE),
    Field("validation_data.path", "spec.data.validation.uri", read_data, "a path; download files from Azure first"),
    Field("validation_data.type", why=_ONE_FILE, quiet=("uri_file",)),
    Field("validation_data.mode", why=_IN_PLACE),
    Field(f"{_INFERENCE}.temperature", "spec.generation.temperature", read_number),
    Field(f"{_INFERENCE}.top_p", "spec.generation.topP", read_number),
    Field(f"{_INFERENCE}.max_tokens", "spec.generation.maxTokens", read_count),
    Field(f"{_INFERENCE}.frequency_penalty", why=_NO_PENALTY, quiet=(0,)),
    Field(f"{_INFERENCE}.presence_penalty", why=_NO_PENALTY, quiet=(0,)),
    Field(f"{_INFERENCE}.stop", why="an answer ends where the teacher's chat template ends it", quiet=("", [])),
    Field(f"{_REQUESTS}.min_endpoint_success_ratio", "spec.generation.minSuccessRatio", read_number),
    Field(f"{_REQUESTS}.request_batch_size", why="vLLM chooses the size of a batch"),
    Field(
        "prompt_settings.enable_chain_of_thought", "spec.task.chainOfThought", read_switch,
        "the record's system message stays, and the reply ends in a line with the answer, not in JSON", quiet=(False,),
    ),
    Field(
        "prompt_settings.enable_chain_of_density", "spec.task.chainOfDensity", read_switch,
        "the record's system message stays, and the reply ends in the last summary, not in JSON", quiet=(False,),
    ),
    Field(
        "prompt_settings.max_len_summary", "spec.task.maxSummaryWords", read_count,
        "also without the chain of density; longer summaries are rejected",
    ),
    Field("hyperparameters.n_epochs", "spec.training.epochs", read_count),
    Field("hyperparameters.num_epochs", "spec.training.epochs", read_count),
    Field("hyperparameters.num_train_epochs", "spec.training.epochs", read_count),
    Field("hyperparameters.batch_size", "spec.training.globalBatchSize", read_count),
    Field(
        "hyperparameters.per_device_train_batch_size", "spec.training.microBatchSize", read_count,
        "the global batch has globalBatchSize samples, regardless of the number of workers",
    ),
    Field("hyperparameters.learning_rate", "spec.training.optimizer.learningRate", read_number),
    Field("hyperparameters.learning_rate_multiplier", why="the rate that it multiplies is not known; set learningRate"),
    Field("hyperparameters.*", why="set the corresponding field of spec.training"),
    Field("resources.instance_type", why="pods run on pools: name one in spec.teachers[0].resources.pool"),
    Field("resources.*", why="pods run on pools"),
    Field("outputs.registered_model.name", "spec.export", read_registered_name, "a folder; there is no registry"),
    Field("outputs.registered_model.type", why="the student is exported as Safetensors, which MLflow can log"),
    Field("outputs.*", why="spec.export defines how the student is exported"),
    *(Field(name, why=_GENERATED) for name in ("id", "status", "creation_context", "services")),
)  # fmt: skip
