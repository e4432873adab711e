"""The hardware that a stage runs on."""

from typing import Annotated

from pydantic import Field

from kubedistill.contract.models import StoredModel

CPU = "CPU"
_Bytes = Annotated[int, Field(ge=0)]


class Hardware(StoredModel):
    """The pods that serve or train a model; on one machine, the machine. Sizes are bytes, None if unknown."""

    accelerator: str = CPU
    """Name of the GPUs, such as NVIDIA H200; CPU without GPUs."""
    gpus_per_pod: Annotated[int, Field(ge=0)] = 0
    pods: Annotated[int, Field(ge=1)] = 1
    memory_per_gpu: _Bytes | None = None
    host_memory: _Bytes | None = None
    """Main memory of each pod."""
    scratch: _Bytes | None = None
    """Local disk of each pod."""

    @property
    def has_gpus(self) -> bool:
        """Whether models run on GPUs."""
        return self.gpus_per_pod > 0

    @property
    def gpus(self) -> int:
        """GPUs of all pods."""
        return self.gpus_per_pod * self.pods
