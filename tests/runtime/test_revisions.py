"""Revisions of models: a run has one commit of each, whatever is pushed, and asks the hub once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill.contract import StageJob
from kubedistill_runtime.choices import describe_commits
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.revisions import find_model_commit, forget_revisions
from support.job_folder import JobFolder
from support.local_hub import LocalHub, serve_hub
from support.loopback_hub import use, use_empty_cache

AT = "spec.student.model.source"
STUDENT = "hf://organization/student"


@pytest.fixture
def hub(tmp_path: Path, job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    use_empty_cache(tmp_path / "cache", monkeypatch)
    job_folder.set("student.model.source", STUDENT)
    with serve_hub() as hub:
        use(hub.address, monkeypatch)
        yield hub


def find(job: StageJob, *, revision: str | None = None, fetch: bool = True) -> str | None:
    return find_model_commit(STUDENT, revision=revision, job=job, at=AT, fetch=fetch)


def test_a_run_keeps_its_commit_after_a_push(hub: LocalHub, job_folder: JobFolder) -> None:
    repository, job = hub.repository("organization/student"), job_folder.stage_job()
    rerun = job.model_copy(update={"run": job.run.model_copy(update={"id": "2"})})
    first = repository.push_folder(job_folder.root / "student")
    assert find(job) == first
    second = repository.push_folder(job_folder.root / "student", **{"README.md": b"1"})
    assert (find(job_folder.stage_job("Train")), find(rerun)) == (first, second)
    forget_revisions(job_folder.store)
    assert find(job) == second, "run --update"


def test_the_commit_of_the_stage_job_has_precedence(hub: LocalHub, job_folder: JobFolder) -> None:
    hub.repository("organization/student").push_folder(job_folder.root / "student")
    job = job_folder.stage_job()
    assert find(job) != "1" * 40
    named = {STUDENT: "1" * 40, f"{STUDENT}@v1": "2" * 40}
    job = job.model_copy(update={"models": named})
    hub.reset()
    assert [find(job), find(job, revision="v1")] == ["1" * 40, "2" * 40]
    assert hub.requests == []


def test_prepare_reports_the_commits_by_source_and_revision(hub: LocalHub, job_folder: JobFolder) -> None:
    repository = hub.repository("organization/student")
    tagged = repository.push_folder(job_folder.root / "student")
    repository.branches["v1"] = tagged
    latest = repository.push_folder(job_folder.root / "student", **{"README.md": b"1"})
    job_folder.set("teachers.0.model.source", STUDENT)
    job_folder.set("teachers.0.model.revision", "v1")
    job = job_folder.stage_job()
    choices = resolve(job, store=job_folder.store)
    assert describe_commits(job.spec, choices) == {f"{STUDENT}@v1": tagged, STUDENT: latest}


def test_a_second_run_on_this_machine_asks_no_hub(
    hub: LocalHub, job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository("organization/student").push_folder(job_folder.root / "student")
    keys = job_folder.keys()
    use("http://127.0.0.1:9", monkeypatch)
    hub.reset()
    assert (job_folder.keys(), hub.requests) == (keys, [])


def test_nothing_is_recorded_without_downloads(hub: LocalHub, job_folder: JobFolder) -> None:
    first = hub.repository("organization/student").push_folder(job_folder.root / "student")
    find(job_folder.stage_job())
    forget_revisions(job_folder.store)
    assert find(job_folder.stage_job(), fetch=False) == first, "as the cache knows it"
    assert job_folder.store.names("revisions") == []
