"""docs/cluster.md shows what `make demo-cluster` runs, and names what it can't."""

import re
from pathlib import Path

from demo_cluster import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
NEEDS_A_NODE = ("kubectl apply -f examples/quickstart/cluster/files.yaml", "kubectl cp ", "kubectl delete pod files")
"""Copying files needs a pod that runs; the player's pods are processes, and files are put where they see them."""


def test_what_the_page_shows_is_what_the_demo_runs_in_its_order() -> None:
    shown = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
    assert [command for command in shown if not command.startswith(NEEDS_A_NODE)] == list(COMMANDS)
    assert len(shown) > len(COMMANDS)


def test_the_page_names_no_place_of_the_machine_that_it_was_made_on() -> None:
    assert str(ROOT) not in PAGE
    assert "build/demo-cluster/claim" not in PAGE


def test_files_that_the_page_names_exist() -> None:
    named = set(re.findall(r"examples/quickstart/[\w./-]+", PAGE))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
