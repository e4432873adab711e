"""kubectl as a user has it, and a folder that stands for a volume claim."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.cluster_setup import ROOT

QUICKSTART = ROOT / "examples" / "quickstart"
CLAIM = "distillation"
"""The claim of examples/quickstart/cluster."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The real kubectl, in one namespace; `folder` keeps what it discovers."""

    kubeconfig: Path
    namespace: str
    folder: Path

    def __call__(self, *arguments: str) -> str:
        """Return what it prints; raises AssertionError with its own words where it fails."""
        ran = subprocess.run(self._command(arguments), check=False, capture_output=True, text=True, cwd=ROOT)
        assert ran.returncode == 0, f"kubectl {' '.join(arguments)}: {ran.stderr}"
        return ran.stdout

    def run(self, *arguments: str) -> int:
        """Let it print; the exit code."""
        return subprocess.run(self._command(arguments), check=False, cwd=ROOT).returncode

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        options = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", f"--cache-dir={self.folder}"]
        return ["kubectl", *arguments, *options]


def has_kubectl() -> bool:
    """Return whether kubectl is on the PATH."""
    return shutil.which("kubectl") is not None


def fill_claim(folder: Path, *, rows: Mapping[str, int] | None = None) -> Path:
    """Put the quickstart's models and data where pods find them; `rows` is how many records of each split, or all."""
    for model in ("teacher", "student"):
        shutil.copytree(QUICKSTART / model, folder / model)
    (folder / "data").mkdir()
    for file in sorted((QUICKSTART / "data").glob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "data" / file.name).write_text("".join(lines[: (rows or {}).get(file.stem)]), encoding="utf-8")
    return folder
