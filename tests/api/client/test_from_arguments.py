"""The flat form: a dozen arguments become a job, and a wrong one is named."""

from typing import Any

import pytest

from kubedistill import distillation_job
from kubedistill.client.job import manifest_of
from kubedistill.errors import InvalidManifest

PROGRAM: dict[str, Any] = {
    "teacher_model": "deepseek-ai/DeepSeek-V3", "student_model": "Phi-4-mini-instruct",
    "training_data": "train.jsonl", "validation_data": "validation.jsonl", "task_type": "conversation",
    "hyperparameters": {"learning_rate": 2e-5, "batch_size": 2, "num_epochs": "4", "temperature": 0.7},
    "teacher_pool": "h200", "student_pool": "a100",
}  # fmt: skip


def test_the_program_of_a_managed_service_is_a_job() -> None:
    assert manifest_of(distillation_job(**PROGRAM)) == {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {"name": "distil-phi-4-mini-instruct"},
        "spec": {
            "task": {"type": "Conversation"},
            "teachers": [
                {
                    "name": "teacher",
                    "model": {"source": "hf://deepseek-ai/DeepSeek-V3", "tensorParallelSize": 8},
                    "resources": {"pool": "h200"},
                }
            ],
            "student": {
                "model": {"source": "hf://microsoft/Phi-4-mini-instruct"},
                "resources": {"pool": "a100", "gpusPerWorker": 1},
            },
            "data": {"train": {"uri": "train.jsonl"}, "validation": {"uri": "validation.jsonl"}},
            "generation": {"temperature": 0.7},
            "training": {"optimizer": {"learningRate": 2e-5}, "globalBatchSize": 2, "epochs": 4},
        },
    }


def test_any_further_part_of_the_spec_is_merged_in() -> None:
    job = distillation_job(
        **PROGRAM,
        test_data="test.jsonl",
        name="support",
        storage={"volumeClaim": "shared"},
        training={"maxLength": 512},
        student={"resources": {"workers": 4}},
    )
    assert job.metadata.name == "support"
    assert (job.spec.training.max_length, job.spec.training.epochs) == (512, 4)
    resources = job.spec.student.resources
    assert (resources.pool, resources.workers, resources.gpus_per_worker) == ("a100", 4, 1)
    assert job.spec.storage.volume_claim == "shared"
    assert job.spec.data.test is not None


def test_a_folder_is_a_model() -> None:
    job = distillation_job(**{**PROGRAM, "teacher_model": "./models/phi-4-mini", "student_model": "file:///models/s"})
    assert job.spec.teachers[0].model.source == "./models/phi-4-mini"
    assert job.spec.student.model.source == "file:///models/s"


WRONG = {
    "a task of no kind": ({"task_type": "poetry"}, 'task_type: there is no task type "poetry". Choose one of'),
    "no labels": ({"task_type": "classification"}, "spec.task: labels is required"),
    "an unknown hyperparameter": (
        {"hyperparameters": {"lr": 1}}, "hyperparameters.lr: there is no such hyperparameter. Use one of learning_rate",
    ),
    "a string for a number": (
        {"hyperparameters": {"num_epochs": "many"}}, "hyperparameters.num_epochs: 'many' is not a number",
    ),
    "a number out of range": ({"hyperparameters": {"learning_rate": 7}}, "spec.training.optimizer.learningRate"),
    "a wrong field of the spec": ({"traning": {}}, "unknown field `traning`. Did you mean `training`?"),
    "a wrong name": ({"name": "No Name"}, "metadata.name"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_named(case: str) -> None:
    arguments, text = WRONG[case]
    with pytest.raises(InvalidManifest) as caught:
        distillation_job(**{**PROGRAM, **arguments})
    assert text in str(caught.value)
