"""kubedistill init: every starter is a manifest that can be validated at once."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from kubedistill.manifest.loading import load_manifest
from kubedistill.v1alpha1.task import TaskType
from support.messages import CheckMessage

TASKS = get_args(TaskType)


@pytest.mark.parametrize("task", TASKS)
def test_starter_is_valid(task: str, called: Callable, tmp_path: Path) -> None:
    written = called("init", task)
    assert (written.returncode, written.stderr) == (0, "")
    assert written.stdout == "wrote job.yaml; edit it, then run: kubedistill validate job.yaml\n"
    assert load_manifest(tmp_path / "job.yaml").spec.task.type == task
    checked = called("validate", "--quick", "job.yaml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == f"job.yaml: my-{task.lower()} is valid\n"


def test_every_task_has_a_starter_and_every_starter_a_task() -> None:
    starters = Path(__file__).parents[3] / "api" / "kubedistill" / "cli" / "starters"
    assert {path.stem for path in starters.iterdir()} == {task.lower() for task in TASKS}


def test_task_may_be_written_in_small_letters(called: Callable, tmp_path: Path) -> None:
    assert called("init", "nli", "--output", "nli.yaml").returncode == 0
    assert load_manifest(tmp_path / "nli.yaml").spec.task.type == "NLI"


def test_file_that_is_there_is_left_alone(called: Callable, tmp_path: Path, check_message: CheckMessage) -> None:
    (tmp_path / "job.yaml").write_text("mine")
    refused = called("init")
    assert (refused.returncode, refused.stdout) == (2, "")
    check_message(refused.stderr, "InvalidInput", "job.yaml", "--output")
    assert (tmp_path / "job.yaml").read_text() == "mine"


def test_file_that_cannot_be_written_is_named(called: Callable, check_message: CheckMessage) -> None:
    refused = called("init", "-o", "none/job.yaml")
    assert (refused.returncode, refused.stdout) == (2, "")
    check_message(refused.stderr, "InvalidInput", "none/job.yaml")


def test_unknown_task_is_refused_with_the_known_ones(called: Callable) -> None:
    refused = called("init", "Poetry")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert all(task.lower() in refused.stderr for task in TASKS)


def test_a_disk_that_is_full_in_the_middle_leaves_no_file(
    called: Callable, tmp_path: Path, check_message: CheckMessage
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        refused = called("init")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (refused.returncode, refused.stdout) == (2, "")
    check_message(refused.stderr, "InvalidInput", "job.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_overwritten(called: Callable, tmp_path: Path, check_message: CheckMessage) -> None:
    check_message(called("init", "-o", ".").stderr, "InvalidInput")
    assert list(tmp_path.iterdir()) == []
