"""What `kubectl auth can-i --list` prints but for URLs, which all accounts may get; and the page that shows it."""

import re
import shutil
import subprocess
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
_LINE = re.compile(r"(?P<resource>\S+) +\[\] +\[(?P<names>[^]]*)\] +\[(?P<verbs>[^]]*)\]")
_CHILD = re.compile(r"\b(support-prepare)-[a-z2-7]{5}\b")


def printed_blocks() -> dict[str, str]:
    """Return what the page shows, by the title above each block."""
    text = PAGE.read_text(encoding="utf-8")
    return {
        found["title"]: _CHILD.sub(r"\1-abcde", found["text"])
        for found in re.finditer(
            r"^## (?P<title>.+?)\n.*?^```\n(?P<text>Resources .*?)```$", text, re.DOTALL | re.MULTILINE
        )
    }


def read_rights(printed: str) -> set[str]:
    """Return the rights that a block tells, as "verb resource.group name"."""
    rights: set[str] = set()
    for line in printed.splitlines()[1:]:
        found = _LINE.fullmatch(line)
        assert found, f"not a line of kubectl: {line!r}"
        names = [f" {name}" for name in found["names"].split()] or [""]
        rights |= {f"{verb} {found['resource']}{name}" for verb in found["verbs"].split() for name in names}
    return rights


def print_rights(kubeconfig: Path, *, namespace: str) -> str:
    """Return what kubectl prints now, with the part of a child's name that differs each time made the same."""
    kubectl = shutil.which("kubectl")
    assert kubectl, "ask has_kubectl first"
    command = [kubectl, "--kubeconfig", str(kubeconfig), "auth", "can-i", "--list", "--namespace", namespace]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in done.stdout.splitlines() if " [/" not in line]
    return _CHILD.sub(r"\1-abcde", "\n".join(lines) + "\n")


def has_kubectl() -> bool:
    """Return whether kubectl is on the PATH."""
    return shutil.which("kubectl") is not None
