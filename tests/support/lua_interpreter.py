"""Argo CD's Lua interpreter, with the libraries that Argo CD opens and no other, and kstatus: a Go program of ours.

It is built once from tests/gitops/interpreter and kept in the user's cache.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.go_builds import build, cache_of, locked, say
from support.kubernetes_binaries import NoBinaries

MODULE = Path(__file__).parents[1] / "gitops" / "interpreter"
_NAME = "interpreter"


class ScriptFailed(Exception):
    """The interpreter refused; the message is its own."""


class Interpreter:
    """The running program; it answers one request after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, script: str, resource: dict[str, Any]) -> Any:
        """Return what a script returns for a resource; raises ScriptFailed."""
        return self._ask(do="lua", script=script, object=resource)["value"]

    def kstatus(self, resource: dict[str, Any]) -> str:
        """Return what kstatus makes of a resource: Current, InProgress, Failed or Terminating."""
        return str(self._ask(do="kstatus", object=resource)["status"])

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ScriptFailed(answer["error"])
        return answer


@contextmanager
def interpreter() -> Iterator[Interpreter]:
    """Start the interpreter. Where there is no Go, the tests that ask for it are left out, loudly; in CI they fail."""
    try:
        command = [str(_find())]
    except NoBinaries as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Interpreter(process)
        assert process.stdin is not None
        process.stdin.close()


def _find() -> Path:
    source = hashlib.sha256((MODULE / "main.go").read_bytes()).hexdigest()[:16]
    folder = cache_of(MODULE, name="interpreter") / source
    with locked(folder):
        if not (folder / _NAME).is_file():
            if shutil.which("go") is None:
                raise NoBinaries("NOTHING OF ARGO CD AND FLUX WAS TESTED: there is no Go to build an interpreter with")
            say("building the interpreter of Argo CD's scripts from Go modules: 1 minute on 2 cores, once")
            build({_NAME: "."}, module=MODULE, into=folder)
    return folder / _NAME
