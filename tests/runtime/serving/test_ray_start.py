"""Starting Ray on a busy machine: waited for longer, tried once more, then lost with its cause."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray

from kubedistill.errors import EngineLost
from kubedistill_runtime.serving import session
from kubedistill_runtime.serving.session import LocalEngines

WAIT = "RAY_raylet_start_wait_time_s"
SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


@dataclass(slots=True)
class SlowRay:
    """Fails so many starts; everything else is Ray's."""

    failures: int
    error: Callable[[], Exception] = lambda: Exception(SLOW)
    started: bool = False
    starts: list[dict[str, Any]] = field(default_factory=list)
    waits: list[str | None] = field(default_factory=list)

    def init(self, **options: Any) -> None:
        self.starts.append(options)
        self.waits.append(os.environ.get(WAIT))
        if len(self.starts) <= self.failures:
            raise self.error()
        self.started = True

    def shutdown(self) -> None:
        self.started = False


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[SlowRay], LocalEngines]:
    for name in [name for name in os.environ if name.startswith(("RAY_", "KUBEDISTILL_SESSION"))]:
        monkeypatch.delenv(name)
    # What the session writes into the environment goes with the test.
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def start(slow: SlowRay) -> LocalEngines:
        monkeypatch.setattr(ray, "init", slow.init)
        monkeypatch.setattr(ray, "shutdown", slow.shutdown)
        monkeypatch.setattr(ray, "is_initialized", lambda: slow.started)
        monkeypatch.setattr(session, "descendants", list)  # the real session of other tests is not ours to end
        return LocalEngines(leftovers=tmp_path / "processes.json", ahead=False)

    return start


def test_a_start_that_fails_once_is_tried_again(start: Callable[[SlowRay], LocalEngines], tmp_path: Path) -> None:
    slow = SlowRay(failures=1)
    engines = start(slow)
    engines.start_ray()
    first, second = (Path(options["_temp_dir"]) for options in slow.starts)
    assert (slow.started, len(slow.starts)) == (True, 2)
    assert first != second, "nothing of the first start disturbs the second"
    assert (first.exists(), second.exists()) == (False, True)
    assert str(second) in (tmp_path / "processes.json").read_text()
    assert slow.waits == ["120", "120"], "Ray itself gives up after 30 s"
    engines.close()
    assert not second.exists()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (lambda: Exception(SLOW), SLOW),
        (lambda: RuntimeError("Failed to start GCS\n\nlong story"), "Failed to start GCS"),
        (lambda: ConnectionError("\x1b[31mno head\x1b[0m"), "no head"),
    ],
    ids=["raylet", "GCS", "a cluster's head"],
)
def test_a_start_that_fails_twice_is_infrastructure_with_its_cause(
    error: Callable[[], Exception], cause: str, start: Callable[[SlowRay], LocalEngines], tmp_path: Path
) -> None:
    slow = SlowRay(failures=2, error=error)
    engines = start(slow)
    with pytest.raises(EngineLost) as caught:
        engines.start_ray()
    assert (caught.value.cause, caught.value.at, len(slow.starts)) == ("infrastructure", "Ray", 2)
    assert caught.value.problem.endswith(f": {cause}")
    assert not any(Path(options["_temp_dir"]).exists() for options in slow.starts)
    assert not (tmp_path / "processes.json").exists()
    engines.start_ray()
    assert slow.started, "a later stage may try again"
    engines.close()


def test_a_wait_that_was_set_is_kept(start: Callable[[SlowRay], LocalEngines], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, WAIT, "300")
    slow = SlowRay(failures=0)
    engines = start(slow)
    engines.start_ray()
    assert slow.waits == ["300"]
    engines.close()


def test_a_cluster_that_cannot_be_joined_is_tried_again(
    start: Callable[[SlowRay], LocalEngines], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(os.environ, "RAY_ADDRESS", "head:6379")
    slow = SlowRay(failures=1)
    start(slow).start_ray()
    assert len(slow.starts) == 2
    assert all("_temp_dir" not in options for options in slow.starts)
    assert not (tmp_path / "processes.json").exists(), "a cluster's processes are not ours to end"
