"""What becomes of each field of an Azure ML distillation job. docs/migration.md shows this table.

To carry one more field over, give its row a target. A stop (`.*`) at the end of a source means: any field below.
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
    read_task,
    read_teacher,
    read_text,
)

_CONNECTION = "teacher_model_endpoint_connection"
_INFERENCE = "teacher_model_settings.inference_parameters"
_REQUESTS = "teacher_model_settings.endpoint_request_settings"
_GENERATED = "Azure ML writes it; it asks for nothing"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: where it goes, or why it goes nowhere."""

    source: str
    """Its place in the Azure ML manifest, dotted."""
    target: str = ""
    """The field of the DistillationJob that takes it; empty where none does."""
    read: Reader | None = None
    why: str = ""
    """Without a target, why; else what differs, for the documentation."""
    quiet: tuple[Any, ...] = ()
    """Values of a field without target that ask for nothing, so nothing is said of them."""


FIELDS: tuple[Field, ...] = (
    Field("type", "", read_text, "only `distillation` is read"),
    Field("$schema", "", read_text, "for editors only"),
    Field("name", "metadata.name", read_name, "at most 32 small letters, digits and dashes"),
    Field("experiment_name", "metadata.labels.kubedistill~io/experiment", read_label, "a label, to select jobs by"),
    Field("description", "metadata.annotations.kubernetes~io/description", read_text),
    Field("display_name", why="a job has one name"),
    Field("tags", why="write them as metadata.labels"),
    Field("properties", why=_GENERATED),
    Field("data_generation_type", "", read_generation_type, "label generation is what every job does"),
    Field("data_generation_task_type", "spec.task.type", read_task, "Math as QA, Summarization as Conversation"),
    Field(f"{_CONNECTION}.name", "spec.teachers", read_teacher, "the model by the table of models, served on vLLM"),
    Field(f"{_CONNECTION}.endpoint", why="the teacher is served in your cluster; no endpoint is asked"),
    Field(f"{_CONNECTION}.api_key", why="no endpoint is asked, and a key belongs into a Secret, not into a manifest"),
    Field(f"{_CONNECTION}.type", why="no endpoint is asked"),
    Field("student_model.path", "spec.student.model", read_student, "the model by the table of models"),
    Field("student_model.type", why="the source says what it is", quiet=("mlflow_model", "custom_model", "uri_file")),
    Field("training_data.path", "spec.data.train.uri", read_data, "a path; download files from Azure first"),
    Field("training_data.type", why="data is one JSONL file", quiet=("uri_file",)),
    Field("training_data.mode", why="files are read where they are"),
    Field("validation_data.path", "spec.data.validation.uri", read_data, "the same"),
    Field("validation_data.type", why="data is one JSONL file", quiet=("uri_file",)),
    Field("validation_data.mode", why="files are read where they are"),
    Field(f"{_INFERENCE}.temperature", "spec.generation.temperature", read_number),
    Field(f"{_INFERENCE}.top_p", "spec.generation.topP", read_number),
    Field(f"{_INFERENCE}.max_tokens", "spec.generation.maxTokens", read_count),
    Field(f"{_INFERENCE}.frequency_penalty", why="answers are sampled without penalties", quiet=(0,)),
    Field(f"{_INFERENCE}.presence_penalty", why="answers are sampled without penalties", quiet=(0,)),
    Field(f"{_INFERENCE}.stop", why="an answer ends where the teacher's own template ends it", quiet=("", [])),
    Field(f"{_REQUESTS}.min_endpoint_success_ratio", "spec.generation.minSuccessRatio", read_number),
    Field(f"{_REQUESTS}.request_batch_size", why="vLLM batches what it is given"),
    Field("prompt_settings.enable_chain_of_thought", why="the teacher is asked for the answer alone", quiet=(False,)),
    Field("prompt_settings.enable_chain_of_density", why="a summary is asked for once", quiet=(False,)),
    Field("prompt_settings.max_len_summary", why="it counts with the chain of density only; say it in systemPrompt"),
    Field("hyperparameters.n_epochs", "spec.training.epochs", read_count),
    Field("hyperparameters.num_epochs", "spec.training.epochs", read_count),
    Field("hyperparameters.num_train_epochs", "spec.training.epochs", read_count),
    Field("hyperparameters.batch_size", "spec.training.globalBatchSize", read_count),
    Field(
        "hyperparameters.per_device_train_batch_size", "spec.training.microBatchSize", read_count,
        "the global batch stays at globalBatchSize, whatever the number of workers",
    ),
    Field("hyperparameters.learning_rate", "spec.training.optimizer.learningRate", read_number),
    Field("hyperparameters.learning_rate_multiplier", why="the rate that it multiplies is not known; set learningRate"),
    Field("hyperparameters.*", why="set what it stands for below spec.training"),
    Field("resources.instance_type", why="pods run on pools: name one in spec.teachers[0].resources.pool"),
    Field("resources.*", why="pods run on pools"),
    Field("outputs.registered_model.name", "spec.export", read_registered_name, "a folder; there is no registry"),
    Field("outputs.registered_model.type", why="the student leaves as Safetensors, which MLflow can log"),
    Field("outputs.*", why="the student leaves through spec.export"),
    *(Field(name, why=_GENERATED) for name in ("id", "status", "creation_context", "services")),
)  # fmt: skip
