"""The entry: `python -m kubedistill_runtime`, and the exit codes it ends with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubedistill.v1alpha1 import API_VERSION, KIND
from kubedistill_runtime.__main__ import main
from kubedistill_runtime.environment import VARIABLES
from support.job_folder import JobFolder


def entry(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubedistill_runtime", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_manifest(job_folder: JobFolder) -> Path:
    path = job_folder.root / "job.yaml"
    job = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "job"}, "spec": job_folder.spec}
    path.write_text(json.dumps(job))
    return path


def test_a_bad_job_file_ends_with_2_and_one_event(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    ended = entry("--job", str(tmp_path / "job.json"))
    assert (ended.returncode, ended.stderr) == (2, "")
    (event,) = (json.loads(line) for line in ended.stdout.splitlines())
    assert (event["event"], event["reason"], event["exitCode"]) == ("failed", "InvalidInput", 2)
    assert event["message"].startswith(f"{tmp_path / 'job.json'}: not a stage job (")


def test_help_names_both_ways_to_start() -> None:
    ended = entry("--help")
    assert ended.returncode == 0
    assert "--job" in ended.stdout
    assert "--manifest" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of the arguments --job --manifest is required"),
        (["--job", "a", "--manifest", "b"], "not allowed with argument"),
        (["--manifest", "b", "--configmap", "prompts"], "'prompts' is not NAME=DIR"),
        (["--manifest", "b", "--configmap", "=folder"], "'=folder' is not NAME=DIR"),
        (["--manifest", "b", "--prices", '{"teacher": -1}'], "not a JSON object of prices of 0 or more"),
        (["--manifest", "b", "--prices", "2.5"], "not a JSON object of prices of 0 or more"),
    ],
)
def test_bad_arguments_end_with_2_and_their_reason(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert says in capsys.readouterr().err


def test_a_missing_manifest_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--manifest", str(tmp_path / "none.yaml"), "--store", str(tmp_path / "store")]) == 2
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["reason"]) == ("failed", "InvalidManifest")


@pytest.mark.parametrize("what", [(), ("--validate",)])
def test_a_store_that_cannot_be_written_is_reported_first(
    what: tuple[str, ...], job_folder: JobFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--manifest", str(write_manifest(job_folder)), "--store", "/sys/kubedistill", *what])
    (event,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    first = event["problems"][0] if what else event
    assert first["reason"] == "StorageNotWritable"
    assert first["message"].startswith("/sys/kubedistill: ")


def test_what_the_environment_says_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    main(["--job", str(tmp_path / "none.json")])
    assert {name: os.environ[name] for name in VARIABLES} == {**VARIABLES, "OMP_NUM_THREADS": "7"}


@pytest.mark.parametrize("what", [("--preview",), ()])
def test_rehash_reads_again_what_shows_no_change(
    what: tuple[str, ...], job_folder: JobFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that remembers other digests stands for a file system that shows no change."""
    job_folder.set("teachers.0.model.maxModelLen", 4096)  # Prepare refuses it once all files are read
    manifest = write_manifest(job_folder)
    job_folder.keys()
    right = {name: job_folder.store.read(name) for name in job_folder.store.names("digests")}
    for name, memory in right.items():
        job_folder.store.put(name, json.dumps(json.loads(memory) | {"sha256": "wrong"}).encode())
    arguments = ["--manifest", str(manifest), "--store", str(job_folder.root / "store"), *what]
    main(arguments)
    assert {name: job_folder.store.read(name) for name in right} != right
    main([*arguments, "--rehash"])
    assert {name: job_folder.store.read(name) for name in right} == right
