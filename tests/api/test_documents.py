"""Every command that a page shows is run by a test, or the reason why it cannot be is listed here."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), ROOT / "charts" / "kubedistill" / "README.md"])
COMMAND = re.compile(
    r"^(?:\$ )?((?:kubectl|helm|kubedistill\S*|make|pip|python|argocd|promtool|git) .+?)\s*(?:  #.*)?$"
)

RUN_BY = {
    r"kubectl distill (?!watch quickstart|report quickstart)": "tests/cluster/test_cli.py",
    r"kubectl distill (watch|report) quickstart": "tests/cluster/test_cli.py",
    r"kubectl (apply -f (?!examples/quickstart/cluster/files)|wait|get|describe)": "tests/cluster/test_quickstart.py",
    r"kubectl annotate dj": "tests/cluster/test_bad_input.py",
    r"kubectl auth can-i": "tests/cluster/chart/test_rights.py",
    r"kubectl -n argocd patch": "tests/cluster/test_gitops.py",
    r"kubedistill init": "tests/api/cli/test_init.py",
    r"kubedistill import openai": "tests/api/cli/test_importing.py",
    r"kubedistill validate": "tests/api/cli/test_validate.py",
    r"kubedistill preview": "tests/runtime/training/test_preview.py",
    r"kubedistill estimate": "tests/runtime/estimate/test_command.py",
    r"kubedistill watch": "tests/cluster/test_cli.py",
    r"kubedistill run": "tests/e2e",
    r"helm (install|upgrade|test|uninstall)": "tests/cluster/chart/test_lifecycle.py",
    r"helm template": "tests/cluster/chart/test_documented_commands.py",
    r"kubectl (annotate crd|apply --server-side)": "tests/cluster/chart/test_documented_commands.py",
}
"""Where a command is run: a test file, or a folder of them."""
NOT_RUN = {
    r"make demo": "takes minutes; `make bench-demo` runs it and tests/e2e its job",
    r"make demo-cluster": "takes minutes; tests/cluster/test_quickstart.py goes the same way with fewer records",
    r"make (test|test-unit|test-cluster|test-images)$": "is what runs this test",
    r"make (setup|lint|types|format|bench-\S+|soak|images|control-plane|helm|crds|chart|docs).*": "is for developers",
    r"make e2e-node": "takes an hour, as root",
    r"kubectl events": "`make demo-cluster` runs it; what it shows is tested in tests/cluster/test_quickstart.py",
    r"kubectl (cp|delete pod|apply -f examples/quickstart/cluster/files.yaml)": "needs a pod on a node",
    r"kubectl exec": "needs a pod on a node; tests/charts/test_operations_page.py runs what it runs there",
    r"pip install": "needs the package to be published",
}
"""Why a command is not run."""


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
            lines = block.splitlines()
            prompted = [line for line in lines if line.startswith("$ ")]  # the others are what commands print
            for line in prompted or lines:
                if found := COMMAND.match(line.strip()):
                    yield page.name, found[1]


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_a_command_is_run_or_says_why_not(page: str, command: str) -> None:
    runs = [place for pattern, place in RUN_BY.items() if re.match(pattern, command)]
    reasons = [reason for pattern, reason in NOT_RUN.items() if re.match(pattern, command)]
    assert runs or reasons, f"{page}: no test runs `{command}`"
    assert all((ROOT / place).exists() for place in runs)


def test_no_row_is_left_over() -> None:
    shown = [command for _, command in commands()]
    assert not [pattern for pattern in (*RUN_BY, *NOT_RUN) if not any(re.match(pattern, one) for one in shown)]


def test_the_pages_link_to_what_is_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
