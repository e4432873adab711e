"""What `make e2e-node` makes sure of before it starts anything."""

import subprocess
from pathlib import Path

import pytest

from support.node.images import SOURCES, is_of_this_tree
from support.node.requirements import has_cgroups


@pytest.mark.parametrize(
    ("files", "holds"),
    [
        ({"cpu": None, "cpuset": None, "memory": None, "pids": None}, True),
        ({"cpu": None, "cpuset": None, "memory": None}, False),
        ({"cgroup.controllers": "cpuset cpu io memory hugetlb pids"}, True),
        ({"cgroup.controllers": "cpu pids", "memory": None}, False),
        ({}, False),
    ],
)
def test_a_kubelet_needs_its_controllers(files: dict[str, str | None], holds: bool, tmp_path: Path) -> None:
    for name, text in files.items():
        if text is None:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_text(text)
    assert has_cgroups(tmp_path) is holds


@pytest.mark.parametrize("changed", [*SOURCES, "docs/guide.md", "tests/test_logs.py"])
def test_an_image_is_kept_until_something_in_it_changes(changed: str, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        author = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
        return subprocess.run(
            ["git", *author, *arguments], cwd=tmp_path, check=True, text=True, capture_output=True
        ).stdout

    git("init", "-q")
    files = [tmp_path / name / "file" if "." not in name and name[0].islower() else tmp_path / name for name in SOURCES]
    for file in (*files, tmp_path / "docs" / "guide.md", tmp_path / "tests" / "test_logs.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("before")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    revision = git("rev-parse", "HEAD").strip()
    assert is_of_this_tree(revision, root=tmp_path)
    place = tmp_path / changed
    (place / "file" if place.is_dir() else place).write_text("after")
    assert is_of_this_tree(revision, root=tmp_path) is (changed not in SOURCES)


def test_an_image_of_an_unknown_commit_is_built_again(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert not is_of_this_tree("unknown", root=tmp_path)
