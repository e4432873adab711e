"""kubedistill validate: a manifest, and the data files on this machine."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

FIX = "Paths without a scheme are relative to the manifest's folder"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a"}\n')
    return tmp_path


def test_manifest_with_its_files_is_valid(called: Callable, manifest: str, data: Path) -> None:
    checked = called("validate", manifest)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "job.yaml: support is valid\n", "")


def test_json_says_the_same_to_machines(called: Callable, manifest: str, data: Path) -> None:
    checked = called("validate", "--json", manifest)
    assert json.loads(checked.stdout) == {"valid": True, "name": "support"}


BAD_DATA = {
    "absent": (lambda path: path.unlink(), "test.jsonl", "there is no such file"),
    "empty": (lambda path: path.write_text(""), "test.jsonl", "the file is empty"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "test.jsonl", "there is no such file"),
    "too long a name": (lambda path: None, "x" * 300, "it can't be read (File name too long)"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_file_is_named(case: str, called: Callable, manifest: str, data: Path) -> None:
    spoil, uri, problem = BAD_DATA[case]
    spoil(data / "test.jsonl")
    (data / manifest).write_text((data / manifest).read_text().replace("test.jsonl", uri))
    refused = called("validate", manifest)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"InvalidData: spec.data.test.uri: {uri}: {problem}. {FIX}\n"


def test_file_uris_are_looked_at_and_others_are_not(called: Callable, manifest: str, data: Path) -> None:
    text = (data / manifest).read_text()
    (data / manifest).write_text(
        text.replace("train.jsonl", (data / "train.jsonl").as_uri()).replace("test.jsonl", "s3://b/t")
    )
    assert called("validate", manifest).returncode == 0
    (data / "train.jsonl").unlink()
    refused = called("validate", manifest)
    assert refused.stderr == f"InvalidData: spec.data.train.uri: {data / 'train.jsonl'}: there is no such file. {FIX}\n"


def test_schema_only_looks_at_no_file(called: Callable, manifest: str) -> None:
    assert called("validate", manifest, "--quick").returncode == 0


def test_bad_manifest_is_named_with_line_and_field(called: Callable, manifest: str, tmp_path: Path) -> None:
    path = tmp_path / manifest
    path.write_text(path.read_text().replace("student}", "student, revison: main}"))
    refused = called("validate", manifest)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "InvalidManifest: job.yaml:7: spec.student.model.revison: unknown field `revison`. Did you mean `revision`?\n"
    )


def test_json_tells_errors_to_machines(called: Callable) -> None:
    refused = called("validate", "none.yaml", "--json")
    assert (refused.returncode, refused.stderr) == (2, "")
    assert json.loads(refused.stdout) == {
        "event": "failed", "reason": "InvalidManifest", "exitCode": 2,
        "message": "none.yaml: the manifest can't be read (No such file or directory). Name a YAML file",
    }  # fmt: skip
