"""Data files of the hub: one commit for a run, keys of the content, and the hub's errors as those of models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubedistill.errors import BadCredentials, HubUnavailable, InvalidData, InvalidManifest, KubedistillError
from kubedistill_runtime.checks.input import place_of, read_split
from kubedistill_runtime.data_files import describe_hub_files, find_data
from kubedistill_runtime.datasets import HubFile, parse_hub_uri
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.revisions import forget_revisions
from kubedistill_runtime.validation import validate
from support.job_folder import JobFolder
from support.loopback_hub import FILE, Serve, answer, hang_up, serving, use, use_empty_cache
from support.messages import CheckMessage, check_facts

AT = "spec.data.train.uri"
URI = "hf://datasets/owner/name/data/train.jsonl"
OTHER = "f" * 40


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_empty_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def job_folder(job_folder: JobFolder) -> JobFolder:
    job_folder.set("data.train.uri", URI)
    return job_folder


def train(job_folder: JobFolder) -> bytes:
    return (job_folder.root / "data" / "train.jsonl").read_bytes()


@contextmanager
def offering(data: bytes, monkeypatch: pytest.MonkeyPatch, *, commit: str = FILE["X_Repo_Commit"]) -> Iterator[None]:
    """Serve one file, whose name on the hub is the one in URI, at a commit and on every branch."""
    headers = {"X_Repo_Commit": commit, "ETag": f'"{commit}"'}
    with serving(by_path={"/datasets/owner/name/resolve/": answer(200, body=data, **headers)}) as address:
        use(address, monkeypatch)
        yield


URIS: dict[str, HubFile | None] = {
    URI: HubFile("owner/name", None, "data/train.jsonl"),
    "hf://datasets/owner/name@v1.0/train.parquet": HubFile("owner/name", "v1.0", "train.parquet"),
    "hf://datasets/o/n@refs/convert/parquet/a/b.parquet": HubFile("o/n", "refs/convert/parquet", "a/b.parquet"),
    "hf://datasets/o/n@refs/pr/7/b.jsonl": HubFile("o/n", "refs/pr/7", "b.jsonl"),
    "hf://datasets/o/n@my%2Fbranch/b%20c.jsonl": HubFile("o/n", "my/branch", "b c.jsonl"),
    "train.jsonl": None,
    "file:///data/train.jsonl": None,
}


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_names_a_file_of_a_dataset(uri: str) -> None:
    assert parse_hub_uri(uri, at=AT) == URIS[uri]


@pytest.mark.parametrize(
    "uri",
    ["hf://owner/name/train.jsonl", "hf://datasets/owner/name", "hf://datasets/owner/name/", "hf://datasets/o/n/data/",
     "hf://datasets/o/n/../../secret", "hf://datasets/o/n/%2e%2e/x", "hf://datasets/o/n@/x.jsonl"],
)  # fmt: skip
def test_a_uri_of_the_hub_that_names_no_file_is_refused(uri: str, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as refused:
        parse_hub_uri(uri, at=AT)
    check_message(refused.value, AT, uri, "hf://datasets/OWNER/NAME/PATH")


def test_keys_hold_the_content_and_not_where_it_is_from(job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with offering(train(job_folder), monkeypatch):
        job = job_folder.stage_job()
        keys = resolve(job, store=job_folder.store).keys
        assert describe_hub_files(job) == [f"train: commit {FILE['X_Repo_Commit']} of {URI}"]
        assert place_of(job, "train") == f"spec.data.train: {URI}"
    job_folder.set("data.train.uri", "data/train.jsonl")
    assert resolve(job_folder.stage_job(), store=job_folder.store).keys == keys


def test_a_run_keeps_its_commit_after_the_branch_has_moved(
    job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, job = train(job_folder), job_folder.stage_job()
    later, rerun = (
        job_folder.stage_job("Generate"),
        job.model_copy(update={"run": job.run.model_copy(update={"id": "2"})}),
    )
    with offering(first, monkeypatch):
        find_data(job, "train")
    with offering(first + b"\n", monkeypatch, commit=OTHER):
        assert find_data(later, "train").read_bytes() == first
        assert find_data(rerun, "train").read_bytes() == first + b"\n"
    assert find_data(later, "train").read_bytes() == first, "what is on this machine needs no hub"
    with offering(first, monkeypatch, commit=OTHER):
        forget_revisions(job_folder.store)
        assert OTHER in str(find_data(later, "train"))


def test_another_pod_asks_the_hub_for_the_recorded_commit(
    job_folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with offering(b"1", monkeypatch):
        find_data(job_folder.stage_job(), "train")
    use_empty_cache(tmp_path / "other", monkeypatch)
    by_path = {f"/resolve/{FILE['X_Repo_Commit']}/": answer(200, body=b"1", **FILE), "": answer(500)}
    with serving(by_path=by_path) as address:
        use(address, monkeypatch)
        assert find_data(job_folder.stage_job("Train"), "train").read_bytes() == b"1"


def test_validation_downloads_and_records_nothing(job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    data = train(job_folder)
    with offering(data, monkeypatch):
        found = validate(job_folder.stage_job())
        assert any(one.startswith(f"records of {AT}") for one in found.unchecked)
        assert found.problems == []
        assert not job_folder.store.exists("revisions")
        assert len(read_split(job_folder.stage_job(), "train").records) == data.count(b"\n")
    assert all("records" not in one for one in validate(job_folder.stage_job()).unchecked)


ERRORS: dict[str, tuple[Serve, type[KubedistillError]]] = {
    "gated": (answer(401, X_Error_Code="GatedRepo"), BadCredentials),
    "a token that may not read": (answer(403, X_Error_Message="Forbidden"), BadCredentials),
    "no such dataset": (answer(404, X_Error_Code="RepoNotFound"), InvalidData),
    "no such revision": (answer(404, X_Error_Code="RevisionNotFound"), InvalidData),
    "no such file": (answer(404, X_Error_Code="EntryNotFound", **FILE), InvalidData),
    "a hub that is down": (answer(503), HubUnavailable),
    "a rate limit": (answer(429), HubUnavailable),
    "a page of a proxy": (answer(200, body=b"<html>Please log in</html>"), HubUnavailable),
    "a connection that is cut": (hang_up, HubUnavailable),
    "a file that is cut short": (answer(200, cut=1, **FILE), HubUnavailable),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_the_hub_says_of_a_file_is_the_jobs_fault_and_nothing_else(
    case: str, job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, kind = ERRORS[case]
    with serving(by_path={"": serve}) as address:
        use(address, monkeypatch)
        with pytest.raises(KubedistillError) as refused:
            find_data(job_folder.stage_job(), "train")
    assert (type(refused.value), refused.value.at) == (kind, AT)
    check_facts(refused.value.problem, "data/train.jsonl of owner/name")
    assert not job_folder.store.exists("revisions")
