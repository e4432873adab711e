"""Whether the models fit into the memory of the machine that runs them."""

from kubedistill.errors import ModelDoesNotFit
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.serving.local_hardware import machine_bytes

# Weights, gradients and AdamW's two moments, all float32; the teacher needs its weights and a cache.
_TRAINING_BYTES = 16


def check_memory(choices: Choices, *, total_bytes: int | None = None) -> None:
    """Check that teacher and student fit into this machine's memory; raises ModelDoesNotFit with both sizes."""
    total = total_bytes if total_bytes is not None else machine_bytes()
    needs = {
        **{f"{teacher.at}.model": teacher.memory_bytes for teacher in choices.teachers},  # served one after another
        "spec.student.model": choices.student.parameters * _TRAINING_BYTES,
    }
    for at, need in needs.items():
        if need > total:
            raise ModelDoesNotFit(
                f"it needs {need / 2**30:.0f} GiB of memory, but this machine has {total / 2**30:.0f} GiB",
                at=at,
                fix="Run the job on a cluster, or use a smaller model",
            )
