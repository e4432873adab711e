"""An Azure ML distillation job, of every field that a sample of theirs sets, to be changed at will."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubedistill.importers.azureml.models import load_models
from kubedistill.importers.azureml.translation import Translation, translate

Values = dict[str, Any]
HOST = "https://meta-llama-3-1-405b-instruct-prod.westus3.models.ai.azure.com"
JOB: Values = {
    "type": "distillation",
    "name": "nli",
    "description": "Teach the small one",
    "experiment_name": "entailment",
    "data_generation_type": "label_generation",
    "data_generation_task_type": "nli",
    "training_data": {"type": "uri_file", "path": "./train.jsonl"},
    "validation_data": {"type": "uri_file", "path": "./validation.jsonl"},
    "teacher_model_endpoint_connection": {
        "type": "serverless", "name": "Meta-Llama-3-1-405B-Instruct-prod", "endpoint": HOST, "api_key": "S3CR3T",
    },
    "student_model": "azureml://registries/azureml-meta/models/Meta-Llama-3.1-8B-Instruct/versions/2",
    "outputs": {"registered_model": {"type": "mlflow_model", "name": "nli-student"}},
    "teacher_model_settings": {
        "inference_parameters": {"temperature": 0.1, "max_tokens": 1024, "top_p": 0.95},
        "endpoint_request_settings": {"request_batch_size": 10, "min_endpoint_success_ratio": 0.7},
    },
    "prompt_settings": {"enable_chain_of_thought": True},
    "hyperparameters": {"learning_rate_multiplier": "0.2", "n_epochs": "5", "batch_size": "2"},
    "resources": {"instance_type": "Standard_D2_v2"},
}  # fmt: skip


@pytest.fixture
def azure_job() -> Values:
    """Return the job as the Python SDK gives it as a dict, and as YAML holds it."""
    return copy.deepcopy(JOB)


@pytest.fixture
def translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Values], Translation]:
    """Write a job as JSON, which is YAML as well, and translate it."""
    monkeypatch.chdir(tmp_path)

    def run(values: Values) -> Translation:
        path = Path("azure.yaml")
        path.write_text(json.dumps(values, indent=1))
        return translate(path, models=load_models())

    return run
