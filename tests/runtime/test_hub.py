"""The Hugging Face hub: what it says of a model ends the job, and what happens to itself on the way does not."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from kubedistill.errors import (
    BadCredentials,
    HubUnavailable,
    InvalidModel,
    KubedistillError,
    StorageNotWritable,
    StorageUnavailable,
)
from kubedistill_runtime.hub import fetch_files, find_commit, list_files
from kubedistill_runtime.hub_errors import NotOnThisMachine
from support.job_folder import JobFolder
from support.loopback_hub import COMMIT, FILE, Serve, answer, hang_up, say_nothing, serving, use, use_empty_cache
from support.messages import check_facts

AT = "spec.student.model.source"


def listing(*names: str) -> dict[str, Serve]:
    """Return a repository with files of one byte; what they hold is for the caller to say."""
    files = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
    kind = "application/json"
    info = {"id": "organization/name", "sha": COMMIT, "siblings": []}
    return {
        "/tree/": answer(200, body=json.dumps(files).encode(), Content_Type=kind),
        "/api/models/": answer(200, body=json.dumps(info).encode(), Content_Type=kind),
    }


ANSWERS: dict[str, tuple[dict[str, Serve], type[KubedistillError]]] = {
    "gated, without a token": ({"": answer(401, X_Error_Code="GatedRepo")}, BadCredentials),
    "gated, and not for this token": ({"": answer(403, X_Error_Code="GatedRepo")}, BadCredentials),
    "a token that is none": (
        {"": answer(401, X_Error_Message="Invalid credentials in Authorization header")}, BadCredentials
    ),
    "a token that may not read": ({"": answer(403, X_Error_Message="Forbidden")}, BadCredentials),
    "files that the token may not read": (
        {**listing("config.json"), "": answer(403, X_Error_Code="GatedRepo")}, BadCredentials
    ),
    "not there, or private": ({"": answer(401, X_Error_Code="RepoNotFound")}, InvalidModel),
    "not there": ({"": answer(404, X_Error_Code="RepoNotFound")}, InvalidModel),
    "no such revision": ({"": answer(404, X_Error_Code="RevisionNotFound")}, InvalidModel),
    "taken down": ({"": answer(403, X_Error_Message="Access to this resource is disabled.")}, InvalidModel),
    "a request that it does not take": ({"": answer(400)}, InvalidModel),
    "a hub that is down": ({"": answer(503)}, HubUnavailable),
    "a hub with a fault": ({"": answer(500)}, HubUnavailable),
    "a gateway without a hub": ({"": answer(504)}, HubUnavailable),
    "a rate limit": ({"": answer(429)}, HubUnavailable),
    "a request that came too slowly": ({"": answer(408)}, HubUnavailable),
    "a proxy that wants a password": ({"": answer(407)}, HubUnavailable),
    "a page of a proxy": ({"": answer(200, body=b"<html>Please log in</html>")}, HubUnavailable),
    "a connection that is cut": ({"": hang_up}, HubUnavailable),
    "no answer": ({"": say_nothing}, HubUnavailable),
    "no answer about its files": ({**listing(), "/tree/": say_nothing}, HubUnavailable),
    "down when it is asked for files": ({**listing(), "/tree/": answer(502)}, HubUnavailable),
    "down when it is asked for a file": ({**listing("config.json"), "": answer(503)}, HubUnavailable),
    "a file that is cut short": ({**listing("config.json"), "": answer(200, cut=1, **FILE)}, HubUnavailable),
}  # fmt: skip
"""What a hub answers, as https://huggingface.co does, and what it means."""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_empty_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def endpoint(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(by_path=request.param) as address:
        use(address, monkeypatch)
        yield address


def fetch(repository: str = "organization/name") -> Path:
    commit = find_commit(repository, revision=None, at=AT, fetch=True)
    files = list_files(repository, commit=commit, at=AT)
    return fetch_files(repository, commit=commit, files=files, at=AT, fetch=True)


@pytest.mark.parametrize(("endpoint", "kind"), ANSWERS.values(), ids=ANSWERS, indirect=["endpoint"])
def test_only_what_the_hub_says_of_a_model_is_the_job_s_fault(endpoint: str, kind: type[KubedistillError]) -> None:
    with pytest.raises(KubedistillError) as refused:
        fetch()
    assert (type(refused.value), refused.value.at) == (kind, AT)
    check_facts(refused.value.problem, "organization/name")


def test_a_hub_that_comes_back_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for by_path in ({"": answer(503)}, {**listing("config.json"), "": answer(200, body=b"1", **FILE)}):
        with serving(by_path=by_path) as address:
            use(address, monkeypatch)
            if len(by_path) == 1:
                with pytest.raises(HubUnavailable):
                    fetch()
            else:
                assert (fetch() / "config.json").read_bytes() == b"1"
    assert find_commit("organization/name", revision=None, at=AT, fetch=True) == COMMIT
    there = fetch_files("organization/name", commit=COMMIT, files={"config.json": 1}, at=AT, fetch=True)
    assert (there / "config.json").read_bytes() == b"1", "what is on this machine needs no hub"


DISKS = {errno.ENOSPC: StorageUnavailable, errno.EDQUOT: StorageUnavailable, errno.EROFS: StorageNotWritable}


@pytest.mark.parametrize("number", DISKS)
def test_a_disk_that_cannot_hold_the_files_is_said_as_such(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number), str(tmp_path / "blob"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(StorageUnavailable) as refused:
        fetch_files("organization/name", commit=COMMIT, files={"config.json": 1}, at=AT, fetch=True)
    assert (type(refused.value), refused.value.at) == (DISKS[number], str(tmp_path / "cache"))


@pytest.mark.parametrize("repository", ["a/b/c", "organization/na me"])
def test_an_impossible_name_is_the_jobs_fault(repository: str) -> None:
    with pytest.raises(InvalidModel):
        fetch(repository)


def test_nothing_is_asked_where_nothing_is_to_be_fetched() -> None:
    with pytest.raises(NotOnThisMachine):
        find_commit("organization/name", revision=None, at=AT, fetch=False)
    with pytest.raises(NotOnThisMachine):
        fetch_files("organization/name", commit=COMMIT, files={"config.json": 1}, at=AT, fetch=False)


def run(job_folder: JobFolder, **environment: str) -> dict[str, str]:
    """Return the result of a Prepare whose teacher is on the hub, in a process of its own."""
    job_folder.set("teachers.0.model.source", "hf://organization/name")
    job = job_folder.root / "attempt" / "job.json"
    job.parent.mkdir()
    job.write_bytes(job_folder.stage_job().to_json().encode())
    variables = {**os.environ, **environment, "HF_HOME": str(job_folder.root / "hub")}
    command = [sys.executable, "-m", "kubedistill_runtime", "--job", str(job)]
    subprocess.run(command, env=variables, check=False, capture_output=True, timeout=120)
    found: dict[str, str] = json.loads((job.parent / "result.json").read_text())
    return {part: found[part] for part in ("outcome", "cause", "reason")}


UNREACHABLE = {
    "refused": ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "infrastructure", "HubUnavailable"),
    "no such host": ({"HF_ENDPOINT": "http://hub.invalid"}, "infrastructure", "HubUnavailable"),
    "told to stay offline": ({"HF_HUB_OFFLINE": "1"}, "user", "InvalidModel"),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_a_stage_says_whose_fault_it_is(case: str, job_folder: JobFolder) -> None:
    environment, cause, reason = UNREACHABLE[case]
    assert run(job_folder, **environment) == {"outcome": "Failed", "cause": cause, "reason": reason}


def test_a_stage_s_attempt_is_charged_to_the_infrastructure_while_the_hub_is_down(job_folder: JobFolder) -> None:
    with serving(by_path={"": answer(503)}) as address:
        found = run(job_folder, HF_ENDPOINT=address)
    assert found == {"outcome": "Failed", "cause": "infrastructure", "reason": "HubUnavailable"}
