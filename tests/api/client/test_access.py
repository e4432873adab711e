"""Which cluster and which namespace: as kubectl would have it, or one message that says what to name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubedistill.client import access
from kubedistill.client.access import find_access
from kubedistill.errors import InvalidInput, NoCluster
from support.messages import CheckMessage


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a kubeconfig with two contexts, and no other one to be found."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(access, "_DEFAULT", tmp_path / "none")
    monkeypatch.setattr(access, "_POD", tmp_path / "pod")
    path = tmp_path / "kubeconfig"
    contexts = [
        {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}},
        {"name": "two", "context": {"cluster": "c", "user": "u"}},
    ]
    values = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(json.dumps(values))
    return path


CHOICES = {
    "the current context": ({}, ("one", "team-a")),
    "another context": ({"context": "two"}, ("two", "default")),
    "another namespace": ({"namespace": "n"}, ("one", "n")),
}


@pytest.mark.parametrize("case", CHOICES)
@pytest.mark.parametrize("how", ["named", "in the environment", "at home"])
def test_context_and_namespace_are_those_of_the_kubeconfig(
    case: str, how: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, found = CHOICES[case]
    if how == "in the environment":
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    elif how == "at home":
        monkeypatch.setattr(access, "_DEFAULT", kubeconfig)
    chosen = find_access(kubeconfig=kubeconfig if how == "named" else None, **asked)
    assert (chosen.context, chosen.namespace) == found
    assert chosen.configure().host == "https://127.0.0.1:1"


def test_a_pod_has_its_account(kubeconfig: Path, tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "token").write_text("t")
    (tmp_path / "pod" / "namespace").write_text("team-b\n")
    assert find_access() == access.Access(None, None, "team-b")


def test_without_any_the_way_to_name_one_is_told(kubeconfig: Path, check_message: CheckMessage) -> None:
    with pytest.raises(NoCluster) as caught:
        find_access()
    check_message(caught.value, "--kubeconfig")


def test_an_unknown_context_is_told_with_those_that_there_are(kubeconfig: Path, check_message: CheckMessage) -> None:
    with pytest.raises(NoCluster) as caught:
        find_access(kubeconfig=kubeconfig, context="three")
    check_message(caught.value, "three", "--context")


@pytest.mark.parametrize("text", ["", "a: [", "kind: Config", "[]"])
def test_a_file_that_is_not_a_kubeconfig_is_named(text: str, kubeconfig: Path) -> None:
    kubeconfig.write_text(text)
    with pytest.raises(NoCluster, match=str(kubeconfig)):
        find_access(kubeconfig=kubeconfig)


def test_a_missing_library_is_reported_with_the_way_to_get_it(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, check_message: CheckMessage
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(InvalidInput) as caught:
        find_access(kubeconfig=kubeconfig)
    check_message(caught.value, "kubedistill[client]")


def test_a_user_that_no_system_file_knows_and_without_a_home_has_no_kubeconfig() -> None:
    program = (
        "import pwd\ndef fail(uid): raise KeyError(uid)\npwd.getpwuid = fail\n"
        "from kubedistill.client import access\nprint(access._DEFAULT)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert (found.returncode, found.stdout) == (0, "/.kube/config\n"), found.stderr
