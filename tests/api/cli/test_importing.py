"""kubedistill import azureml: the job to standard output, what differs to standard error."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kubedistill.importers.azureml.models import load_models
from kubedistill.manifest.loading import load_manifest
from support.messages import CheckMessage

AZURE = """\
type: distillation
name: math
data_generation_type: label_generation
data_generation_task_type: nlu_qa
training_data: {type: uri_file, path: ./train.jsonl}
teacher_model_endpoint_connection: {name: Meta-Llama-3-1-405B-Instruct-a, api_key: S3CR3T}
student_model: azureml:Phi-3-mini-4k-instruct
hyperparameters: {learning_rate: "2e-5", learning_rate_multiplier: "0.2"}
"""
REMARKS = (
    "teacher_model_endpoint_connection.name: served in your cluster, from hf://meta-llama/Llama-3.1-405B-Instruct\n"
    "teacher_model_endpoint_connection.api_key: left out: the teacher runs in your cluster; "
    "to keep the endpoint, write it as spec.teachers[].endpoint; a key"
    " belongs in a Secret, not in a manifest\n"
    "hyperparameters.learning_rate_multiplier: left out: the rate that it multiplies is not known; set learningRate\n"
    "spec.teachers[0].resources.pool: Azure ML chose the machines; name pools of your cluster here and in"
    " spec.student.resources\n"
)


@pytest.fixture
def azure(tmp_path: Path) -> Path:
    path = tmp_path / "azure.yaml"
    path.write_text(AZURE)
    return path


def test_what_is_printed_is_a_valid_manifest(called: Callable, azure: Path, tmp_path: Path) -> None:
    imported = called("import", "azureml", azure.name)
    assert (imported.returncode, imported.stderr) == (0, REMARKS)
    (tmp_path / "job.yaml").write_text(imported.stdout)
    (tmp_path / "train.jsonl").write_text('{"prompt": "a"}\n')
    checked = called("validate", "job.yaml", "--quick")
    assert (checked.returncode, checked.stdout) == (0, "job.yaml: math is valid\n")
    assert load_manifest(tmp_path / "job.yaml").spec.training.optimizer.learning_rate == 2e-5


def test_json_tells_machines_what_differs(called: Callable, azure: Path) -> None:
    imported = called("import", "azureml", azure.name, "--json")
    assert (imported.returncode, imported.stderr) == (0, "")
    said = json.loads(imported.stdout)
    assert said["job"]["metadata"] == {"name": "math"}
    assert said["remarks"][2] == {
        "field": "hyperparameters.learning_rate_multiplier",
        "dropped": True,
        "message": "the rate that it multiplies is not known; set learningRate",
    }


def test_a_table_of_ones_own_names_other_models(
    called: Callable, azure: Path, tmp_path: Path, check_message: CheckMessage
) -> None:
    azure.write_text(AZURE.replace("Phi-3-mini-4k-instruct", "tiny"))
    refused = called("import", "azureml", azure.name)
    assert (refused.returncode, refused.stdout) == (2, "")
    check_message(
        refused.stderr,
        "InvalidManifest",
        "azure.yaml:7",
        "tiny",
        "tiny: {source: hf://organization/model}",
        "models:",
        "--models",
    )
    (tmp_path / "models.yaml").write_text("models:\n  tiny: {source: hf://us/tiny}\n")
    imported = called("import", "azureml", azure.name, "--models", "models.yaml")
    assert imported.returncode == 0
    assert "source: hf://us/tiny" in imported.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.yaml",), "none.yaml: the manifest can't be read (No such file or directory). Name a YAML file"),
        (("azure.yaml", "--models", "none.yaml"), "none.yaml: the table of models can't be read (No such file"),
    ],
)
def test_file_that_is_not_there_is_named(
    arguments: tuple[str, ...], message: str, called: Callable, azure: Path
) -> None:
    refused = called("import", "azureml", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"InvalidManifest: {message}")


def test_the_page_shows_what_is_printed(called: Callable, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
    azure, said, job, models = re.findall(r"^```(?:yaml|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "azure.yaml").write_text(azure)
    imported = called("import", "azureml", "azure.yaml")
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, job, said)
    (tmp_path / "job.yaml").write_text(job)
    assert called("validate", "job.yaml", "--quick").returncode == 0
    (tmp_path / "models.yaml").write_text(models)
    assert {"our-teacher", "our-student"} < set(load_models(tmp_path / "models.yaml"))


def test_openai_files_become_a_folder_with_a_job(called: Callable, tmp_path: Path, check_message: CheckMessage) -> None:
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    lines = [{"messages": turns, "tools": [{}]}, {"messages": turns[:1] * 2}]
    (tmp_path / "export.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    imported = called("import", "openai", "export.jsonl", "-o", "data")
    assert imported.returncode == 0
    check_message(imported.stdout, "data/train.jsonl: 1 records", "data/left-out.jsonl: 1 lines", "data/job.yaml")
    check_message(imported.stderr, "1 records: the tools", "1 left out: the turns")
    checked = called("validate", "data/job.yaml", "--quick")
    assert (checked.returncode, checked.stdout) == (0, "data/job.yaml: data is valid\n")
    again = called("import", "openai", "export.jsonl", "-o", "data")
    assert again.returncode == 2
    check_message(again.stderr, "data/train.jsonl", "already exists")


def test_openai_files_without_a_record_write_nothing(
    called: Callable, tmp_path: Path, check_message: CheckMessage
) -> None:
    (tmp_path / "export.jsonl").write_text('{"messages": []}\n{"text": "a"}\n{"text": "b"}\n')
    refused = called("import", "openai", "export.jsonl", "-o", "data")
    assert (refused.returncode, refused.stdout, (tmp_path / "data").exists()) == (2, "", False)
    check_message(refused.stderr, "export.jsonl", "none of 3 lines", "2 because")
