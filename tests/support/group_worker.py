"""One worker of a group: `python -m support.group_worker FOLDER RANK WORLD` does the tasks of FOLDER/tasks.json.

`run_in_threads` does them in lanes of this process.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import torch.distributed as dist

from kubedistill_runtime.training.collective import Collective, Group
from kubedistill_runtime.training.lanes import run_in_lanes
from support import tiny_training as tiny

Found = dict[str, Any]
"""What one worker got for one task."""
_MAKING = Lock()
"""Random weights come from a generator that all threads share."""


def train(task: dict[str, Any], *, collective: Collective | None = None) -> tiny.Record:
    """Run the loop as a task says; the same task means the same training for any number of workers."""
    ids = tiny.make_samples(task["lengths"])
    texts = tiny.make_samples(task.get("textLengths", []), seed=1, known=False)
    validation = tiny.make_samples(task.get("validationLengths", []), seed=2)
    with _MAKING:
        student = tiny.make_student(ce_weight=0.3, dtype=getattr(torch, task["dtype"]))
    return tiny.run(
        tiny.make_training(**task["training"]),
        student,
        train=[*ids, *texts],
        validation=validation,
        collective=collective,
        stop_after=task.get("stopAfter"),
        resume=task.get("resume"),
    )


def run_tasks(tasks: Sequence[dict[str, Any]], *, collective: Collective) -> list[Found]:
    """Return what each task gave to this worker."""
    results = []
    for task in tasks:
        record = train(task, collective=collective)
        results.append(
            {
                "gradients": record.gradients,
                "losses": record.losses,
                "weights": record.weights,
                "saved": record.saved,
                "stopped": record.state is None,
                "validation": record.state.curve.validation if record.state else [],
                "curve": [point["loss"] for point in record.state.curve.train] if record.state else [],
            }
        )
    return results


def run_in_threads(tasks: Sequence[dict[str, Any]], *, world: int) -> list[list[Found]]:
    """Return what each lane got for each task."""
    return run_in_lanes(world, run=lambda lane: run_tasks(tasks, collective=lane))


def main(folder: Path, *, rank: int, world: int) -> None:
    """Write what each task gave to FOLDER/results-RANK.pt."""
    torch.set_num_threads(1)
    # Workers meet over a file, so no port has to be guessed; gloo then connects them on free ones.
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=world)
    tasks = json.loads((folder / "tasks.json").read_text())
    torch.save(run_tasks(tasks, collective=Group(torch.device("cpu"))), folder / f"results-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), rank=int(sys.argv[2]), world=int(sys.argv[3]))
