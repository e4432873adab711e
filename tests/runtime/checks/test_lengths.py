"""Lengths: what the teacher was not made for is refused before an engine is started."""

from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill_runtime.checks.lengths import check_length
from kubedistill_runtime.models import Model
from workshop import Workshop


@pytest.mark.parametrize(
    ("wanted", "config", "refused"),
    [
        (64, {"max_position_embeddings": 64}, False),
        (65, {"max_position_embeddings": 64}, True),
        (4096, {"max_position_embeddings": 64, "rope_parameters": {"rope_type": "default"}}, True),
        (128, {"max_position_embeddings": 64, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}, False),
        (128, {"max_position_embeddings": 64, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, False),
        (65, {"max_position_embeddings": 64, "rope_scaling": None}, True),
        (4096, {}, False),
    ],
)
def test_a_teacher_is_asked_for_no_more_than_its_positions(
    wanted: int, config: dict[str, Any], *, refused: bool, workshop: Workshop
) -> None:
    workshop.set("teachers.0.model.maxModelLen", wanted)
    teacher, spec = Model("teacher", Path("teacher"), "digest", 0, config), workshop.stage_job().spec
    if not refused:
        check_length(teacher, spec=spec)
        return
    with pytest.raises(InvalidManifest) as error:
        check_length(teacher, spec=spec)
    assert str(error.value) == (
        f"spec.teachers[0].model.maxModelLen: {wanted} tokens are wanted, and teacher was made for 64. "
        "Set it to 64 or less"
    )
