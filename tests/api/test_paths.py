"""Paths made of what a user wrote: where they lead, what is refused, and that nothing else makes them."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kubedistill
from kubedistill.errors import InvalidManifest
from kubedistill.paths import entry_path, uri_path

ROOT = Path("/store")
PATHS = {
    "data/train.jsonl": "/store/data/train.jsonl",
    "../shared/model": "/store/../shared/model",
    "/absolute": "/absolute",
    "50%25 off": "/store/50%25 off",
    "file:///a%20b/c": "/a b/c",
    "s3://bucket/key": None,
    "hf://organisation/name": None,
}


@pytest.mark.parametrize("uri", PATHS)
def test_a_uri_is_a_path_or_has_another_scheme(uri: str) -> None:
    found = uri_path(uri, root=ROOT, at="spec.data.train.uri")
    assert (None if found is None else str(found)) == PATHS[uri]


@pytest.mark.parametrize("uri", ["file:///a%00b", "a\0b"])
def test_a_null_byte_is_no_path(uri: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        uri_path(uri, root=ROOT, at="spec.data.train.uri")
    assert caught.value.at == "spec.data.train.uri"


@given(name=st.text(max_size=20) | st.sampled_from([".", "..", "a/b", "../a", "/etc", "a/..", "..data"]))
def test_an_entry_is_in_its_folder_or_refused(name: str) -> None:
    if name in ("", ".", "..") or {"/", "\0"} & set(name):
        with pytest.raises(InvalidManifest) as caught:
            entry_path(ROOT, name, at="spec.data.train.configMapKeyRef.key")
        assert caught.value.at == "spec.data.train.configMapKeyRef.key"
    else:
        found = entry_path(ROOT, name, at="")
        assert (found.parent, found.name) == (ROOT, name)


def test_nothing_else_turns_a_uri_into_a_path() -> None:
    """What decodes a URI makes a path of it; the importer makes a name of one, and the policy compares two."""
    folder = Path(kubedistill.__file__).parents[2]
    found = {
        path.relative_to(folder).as_posix()
        for root in ("api", "operator", "runtime")
        for path in (folder / root).rglob("*.py")
        if any(getattr(node, "id", "") == "unquote" for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }
    others = {"api/kubedistill/importers/azureml/readers.py", "operator/kubedistill_operator/decisions/policy.py"}
    assert found == {"api/kubedistill/paths.py", *others}
