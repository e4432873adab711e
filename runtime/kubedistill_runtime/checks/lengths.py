"""Whether the teacher was made for sequences as long as the manifest wants them."""

from collections.abc import Mapping
from typing import Any

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.models import Model


def check_length(teacher: Model, *, spec: Spec) -> None:
    """Refuse a maxModelLen beyond the teacher's positions, as vLLM would after minutes; raises InvalidManifest."""
    wanted, longest = spec.teachers[0].model.max_model_len, teacher.max_positions
    if longest is not None and wanted > longest and not _stretches(teacher.config):
        raise InvalidManifest(
            f"{wanted} tokens are wanted, and {teacher.source} was made for {longest}",
            at="spec.teachers[0].model.maxModelLen",
            fix=f"Set it to {longest} or less",
        )


def _stretches(config: Mapping[str, Any]) -> bool:
    """Whether rotary positions are scaled, in which case the engine alone knows the limit."""
    return any("factor" in (config.get(name) or {}) for name in ("rope_scaling", "rope_parameters"))
