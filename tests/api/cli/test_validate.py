"""kubedistill validate: what the runtime's checks find, and what is checked where there is no runtime."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kubedistill.contract import CONTRACT
from support.messages import CheckMessage

FIX = "Paths without a scheme are relative to the manifest's folder"
FOUND = {
    "problems": [
        {"reason": "InvalidData", "at": "train.jsonl:3", "message": "train.jsonl:3: the line is not JSON. Fix it"},
        {"reason": "InvalidModel", "at": "spec.student", "message": "spec.student: no template. Take another"},
    ],
    "notes": ["train: 40 records were read as ShareGPT"],
    "unchecked": ["spec.teachers[0].model.source: x/y is not on this machine: its template"],
}
NOTHING: dict[str, list[str]] = {"problems": [], "notes": [], "unchecked": []}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a"}\n')
    return tmp_path


@pytest.fixture
def finds(runtime: Callable[[str], None]) -> Callable[[object], None]:
    """Have the runtime find something."""

    def find(findings: object) -> None:
        runtime(f"print(json.dumps({{'event': 'validated', **json.loads({json.dumps(json.dumps(findings))})}}))")

    return find


@pytest.fixture
def without_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the client is installed."""
    monkeypatch.setattr("kubedistill.cli.validate.has_checks", lambda: False)


def test_all_problems_are_reported_at_once_with_unchecked_parts(
    called: Callable, manifest: str, finds: Callable
) -> None:
    finds(FOUND)
    checked = called("validate", manifest)
    assert checked.returncode == 2
    assert checked.stderr.splitlines() == [f"{one['reason']}: {one['message']}" for one in FOUND["problems"]]
    assert checked.stdout.splitlines() == [f"note: {FOUND['notes'][0]}", f"not checked: {FOUND['unchecked'][0]}"]


def test_no_text_of_the_data_forges_a_line(called: Callable, manifest: str, finds: Callable) -> None:
    forged = "train: a\njob.yaml: support is valid"
    finds(NOTHING | {"notes": [forged], "unchecked": [forged]})
    checked = called("validate", manifest)
    assert [line.partition(":")[0] for line in checked.stdout.splitlines()] == ["note", "not checked", "job.yaml"]


def test_a_job_without_problems_is_valid(called: Callable, manifest: str, finds: Callable) -> None:
    finds(NOTHING)
    checked = called("validate", manifest)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "job.yaml: support is valid\n", "")


def test_what_was_not_checked_is_part_of_the_verdict(called: Callable, manifest: str, finds: Callable) -> None:
    finds({**NOTHING, "unchecked": ["the teacher"]})
    checked = called("validate", manifest)
    assert checked.stdout.splitlines()[-1] == "job.yaml: support is valid, as far as it could be checked"


@pytest.mark.parametrize(("findings", "code"), [(NOTHING, 0), (FOUND, 2)])
def test_json_says_the_same_to_machines(
    findings: dict[str, object], code: int, called: Callable, manifest: str, finds: Callable
) -> None:
    finds(findings)
    checked = called("validate", "--json", manifest)
    assert checked.returncode == code
    assert json.loads(checked.stdout) == {"valid": code == 0, "name": "support", **findings}


BAD_DATA = {
    "absent": (lambda path: path.unlink(), "test.jsonl", "there is no such file"),
    "empty": (lambda path: path.write_text(""), "test.jsonl", "the file is empty"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "test.jsonl", "there is no such file"),
    "too long a name": (lambda path: None, "x" * 300, "the file can't be read (File name too long)"),
}


@pytest.mark.usefixtures("without_runtime")
@pytest.mark.parametrize("case", BAD_DATA)
def test_without_the_runtime_a_bad_data_file_is_named(
    case: str, called: Callable, manifest: str, data: Path, check_message: CheckMessage
) -> None:
    spoil, uri, problem = BAD_DATA[case]
    spoil(data / "test.jsonl")
    (data / manifest).write_text((data / manifest).read_text().replace("test.jsonl", uri))
    refused = called("validate", manifest)
    assert refused.returncode == 2
    check_message(refused.stderr, "InvalidData", "spec.data.test", uri, problem, FIX)


@pytest.mark.usefixtures("without_runtime")
def test_without_the_runtime_file_uris_are_looked_at_and_others_are_not(
    called: Callable, manifest: str, data: Path
) -> None:
    text = (data / manifest).read_text()
    (data / manifest).write_text(
        text.replace("train.jsonl", (data / "train.jsonl").as_uri()).replace("test.jsonl", "s3://b/t")
    )
    checked = called("validate", manifest)
    assert checked.returncode == 0
    assert "not checked: the records, models and tokenizers" in checked.stdout
    (data / "train.jsonl").unlink()
    assert called("validate", manifest).returncode == 2


def test_quick_looks_at_no_file(called: Callable, manifest: str) -> None:
    assert called("validate", manifest, "--quick").returncode == 0


@pytest.mark.usefixtures("without_runtime", "data")
@pytest.mark.parametrize("arguments", [(), ("--quick",)])
def test_without_the_runtime_an_export_to_a_hub_is_refused(
    arguments: tuple[str, ...], called: Callable, manifest: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    path = tmp_path / manifest
    path.write_text(path.read_text() + "  export: [{uri: 'hf://me/student'}]\n")
    refused = called("validate", manifest, *arguments)
    assert refused.returncode == 2
    check_message(refused.stderr, "InvalidManifest", "spec.export[0].uri", "'hf'", "file://")


def test_bad_manifest_is_named_with_line_and_field(
    called: Callable, manifest: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    path = tmp_path / manifest
    path.write_text(path.read_text().replace("student}", "student, revison: main}"))
    refused = called("validate", manifest)
    assert (refused.returncode, refused.stdout) == (2, "")
    check_message(refused.stderr, "InvalidManifest", "job.yaml:7", "spec.student.model.revison", "revison", "revision")


def test_json_tells_errors_to_machines(called: Callable) -> None:
    refused = called("validate", "none.yaml", "--json")
    assert (refused.returncode, refused.stderr) == (2, "")
    assert json.loads(refused.stdout) == {
        "contract": CONTRACT,
        "event": "failed",
        "reason": "InvalidManifest",
        "exitCode": 2,
        "message": "none.yaml: the manifest can't be read (No such file or directory). Name a YAML file",
    }
