"""The hardware of a run: what the pods of each stage that serves or trains models have."""

from collections.abc import Mapping

from kubedistill.chain import StageName
from kubedistill.contract import Hardware
from kubedistill.contract.hardware import CPU
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.placement.layout import Layout, lay_out
from kubedistill.placement.quantities import number
from kubedistill.v1alpha1 import Spec

_PRODUCT = "nvidia.com/gpu.product"
"""The label that NVIDIA's GPU feature discovery sets on nodes."""
_STAGES: tuple[StageName, ...] = ("Generate", "Train", "Evaluate")


def find_hardware(
    spec: Spec, *, namespace: str, pools: Mapping[str, Pool], resources: Resources
) -> dict[StageName, Hardware]:
    """Return the hardware of each stage that serves or trains models; raises what lay_out raises."""
    return {
        stage: _describe(lay_out(stage, spec, namespace=namespace, pools=pools, resources=resources))
        for stage in _STAGES
    }


def _describe(layout: Layout) -> Hardware:
    """Return the hardware of the workers of a stage, or of its driver if it has none."""
    group = layout.groups[0] if layout.groups else None
    placement = group.placement if group else layout.driver
    pool = placement.pool if placement.gpus else None
    volume = placement.pool.scratch if placement.pool else None
    scratch = volume.size if volume else placement.ephemeral_storage
    return Hardware(
        accelerator=_accelerator(pool, name=layout.pool or "") if pool else CPU,
        gpus_per_pod=placement.gpus,
        pods=group.pods if group else 1,
        memory_per_gpu=int(number(pool.memory_per_gpu)) if pool else None,
        host_memory=int(number(placement.memory)),
        scratch=int(number(scratch)) if scratch else None,
    )


def _accelerator(pool: Pool, *, name: str) -> str:
    return pool.accelerator or pool.node_selector.get(_PRODUCT) or name
