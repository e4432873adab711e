"""Paths made of what a user wrote: where they lead, what is refused, and that nothing else makes them."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kubedistill
from kubedistill.errors import InvalidManifest, InvalidModel
from kubedistill.paths import Location, entry_path, find_store_problem, local_path, locate

ROOT = Path("/store")
LOCATIONS = {
    "": Location("", ROOT),
    "data/train.jsonl": Location("", ROOT / "data/train.jsonl"),
    "../shared/model": Location("", Path("/store/../shared/model")),
    "/absolute": Location("", Path("/absolute")),
    "50%25 off": Location("", ROOT / "50%25 off"),
    "file:///a%20b/c": Location("file", Path("/a b/c")),
    "FILE:///a": Location("file", Path("/a")),
    "file:/a": Location("file", Path("/a")),
    "file://localhost/a": Location("file", Path("/a")),
    "s3://bucket/key": Location("s3", None),
    "hf://organisation/name": Location("hf", None),
}


@pytest.mark.parametrize("uri", LOCATIONS)
def test_a_uri_is_a_path_or_has_another_scheme(uri: str) -> None:
    assert locate(uri, root=ROOT, at="spec.data.train.uri") == LOCATIONS[uri]


@pytest.mark.parametrize("uri", LOCATIONS)
def test_another_scheme_is_refused_at_its_field_where_a_path_is_needed(uri: str) -> None:
    at, expected = "spec.student.model.source", LOCATIONS[uri].path
    if expected is not None:
        assert local_path(uri, root=ROOT, at=at) == expected
        return
    with pytest.raises(InvalidModel) as caught:
        local_path(uri, root=ROOT, at=at, error=InvalidModel)
    assert caught.value.at == at
    assert LOCATIONS[uri].scheme in caught.value.problem


@pytest.mark.parametrize("uri", ["file:///a%00b", "a\0b"])
def test_a_null_byte_is_not_a_path(uri: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        locate(uri, root=ROOT, at="spec.data.train.uri")
    assert caught.value.at == "spec.data.train.uri"


@pytest.mark.parametrize("uri", ["file://mnt/models", "FILE://mnt/models"])
def test_a_host_is_not_the_first_folder_of_a_path(uri: str) -> None:
    """The path was /models, without a word."""
    with pytest.raises(InvalidManifest) as caught:
        locate(uri, root=ROOT, at="spec.storage.uri")
    assert caught.value.at == "spec.storage.uri"
    assert "file:///mnt/models" in caught.value.fix


STORES = {
    "file:///store": None,
    "FILE:///store": None,
    "s3://bucket": "s3://bucket is not a file:// URI",
    "store": "store is not a file:// URI",
    "/store": "/store is not a file:// URI",
    "file://mnt/store": "file://mnt/store names the host mnt",
    "file:///a%00b": "null byte",
}


@pytest.mark.parametrize("uri", STORES)
def test_a_store_of_pods_is_a_file_uri_without_a_host(uri: str) -> None:
    problem, expected = find_store_problem(uri), STORES[uri]
    assert problem == expected if expected is None else expected in (problem or "")


@given(name=st.text(max_size=20) | st.sampled_from([".", "..", "a/b", "../a", "/etc", "a/..", "..data"]))
def test_an_entry_is_in_its_folder_or_refused(name: str) -> None:
    if name in ("", ".", "..") or {"/", "\0"} & set(name):
        with pytest.raises(InvalidManifest) as caught:
            entry_path(ROOT, name, at="spec.data.train.configMapKeyRef.key")
        assert caught.value.at == "spec.data.train.configMapKeyRef.key"
    else:
        found = entry_path(ROOT, name, at="")
        assert (found.parent, found.name) == (ROOT, name)


def users_of(*names: str) -> set[str]:
    """Return the product's modules that use one of these names."""
    folder = Path(kubedistill.__file__).parents[2]
    return {
        path.relative_to(folder).as_posix()
        for root in ("api", "operator", "runtime")
        for path in (folder / root).rglob("*.py")
        if any(getattr(node, "id", "") in names for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }


def test_nothing_else_turns_a_uri_into_a_path() -> None:
    """What decodes a URI makes a path of it; importer and hub make a name of one, and the policy compares two."""
    found = users_of("unquote")
    others = {
        "api/kubedistill/importers/azureml/readers.py",
        "operator/kubedistill_operator/decisions/policy.py",
        "runtime/kubedistill_runtime/datasets.py",
    }
    assert found == {"api/kubedistill/paths.py", *others}


def test_nothing_else_asks_for_the_scheme_of_a_uri() -> None:
    """The resource model refuses what can't be parsed; the other two take the addresses of servers apart."""
    cluster = {"operator/kubedistill_operator/cluster/connection.py", "operator/kubedistill_operator/loop/watch.py"}
    assert users_of("urlsplit") == {"api/kubedistill/paths.py", "api/kubedistill/v1alpha1/base.py", *cluster}
