"""Speeds: how fast models were served and trained, stored for the estimates of later jobs.

`speeds/<key>.json` has the latest measurement of one model on one kind of hardware.
"""

import logging
from typing import TypeVar

from kubedistill.canonical import digest
from kubedistill.contract import Hardware, StoredModel
from kubedistill.stored import read_stored_json
from kubedistill_runtime.serving.engine import Serving
from kubedistill_runtime.storage.store import Store

log = logging.getLogger(__name__)

_LEAST_ANSWERS, _LEAST_STEPS = 32, 20
"""Fewer say little about a speed."""


class GenerationSpeed(StoredModel):
    """The replies of an engine, without its start."""

    answers: int
    prompt_tokens: float
    """Mean length of a prompt."""
    answer_tokens: float
    """Mean length of a reply."""
    copies: int
    seconds: float
    hardware: str
    """In words."""

    @property
    def rate(self) -> float:
        """Tokens generated per second."""
        return self.answers * self.answer_tokens / self.seconds


class TrainingSpeed(StoredModel):
    """Steps of training, without its start."""

    samples: int
    sample_tokens: float
    """Mean length of a sample."""
    seconds: float
    hardware: str
    """In words."""

    @property
    def rate(self) -> float:
        """Tokens of samples per second."""
        return self.samples * self.sample_tokens / self.seconds


_Speed = TypeVar("_Speed", GenerationSpeed, TrainingSpeed)


def serving_key(serving: Serving) -> str:
    """Return the key of an engine: its model, its precision, its devices, and whether it reports distributions."""
    return digest(
        {
            "model": serving.model.digest,
            "precision": [serving.dtype, serving.quantization, serving.kv_cache_dtype],
            "accelerator": serving.hardware.accelerator,
            "devices": [serving.tensor_parallel_size, serving.pipeline_parallel_size],
            "distributions": serving.k > 0,
        }
    )


def count_copies(hardware: Hardware, *, gpus: int) -> int:
    """Return how many copies of a model that uses a number of GPUs share its prompts."""
    return max(1, hardware.gpus // gpus) if hardware.has_gpus else 1


def record_generation(store: Store, key: str, speed: GenerationSpeed) -> None:
    """Store the speed of an engine in place of an earlier one, unless it is of too few answers."""
    if speed.answers >= _LEAST_ANSWERS and speed.seconds > 0 and speed.answer_tokens > 0:
        _put(store, key, speed)


def record_training(store: Store, key: str, speed: TrainingSpeed, *, steps: int) -> None:
    """Store the speed of a training in place of an earlier one, unless it is of too few steps."""
    if steps >= _LEAST_STEPS and speed.seconds > 0 and speed.sample_tokens > 0:
        _put(store, key, speed)


def read_speed(store: Store, key: str, kind: type[_Speed]) -> _Speed | None:
    """Return what was measured; None if nothing was, or if it cannot be read."""
    name = f"speeds/{key}.json"
    try:
        found = read_stored_json(kind, store.read(name))
        return found if found.rate > 0 else None
    except FileNotFoundError:
        return None
    except (ValueError, ZeroDivisionError) as error:  # an estimate is possible without it
        log.warning("a measured speed cannot be read", extra={"file": name, "problem": str(error).splitlines()[0]})
        return None


def _put(store: Store, key: str, speed: StoredModel) -> None:
    store.put(f"speeds/{key}.json", speed.model_dump_json(by_alias=True).encode())
