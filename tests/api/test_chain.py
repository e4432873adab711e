"""The chain: every artifact is made once, before anybody needs it."""

from typing import get_args

import pytest

from kubedistill.chain import CHAIN, STAGES, ArtifactName, Stage, StageName
from kubedistill.v1alpha1 import StageStatus

MADE = [name for stage in CHAIN for name in stage.makes]


def test_stages_are_those_of_the_design_in_their_order() -> None:
    assert tuple(stage.name for stage in CHAIN) == ("Prepare", "Generate", "Curate", "Train", "Evaluate", "Export")
    assert tuple(STAGES) == get_args(StageName)


def test_every_artifact_is_made_exactly_once() -> None:
    assert sorted(MADE) == sorted(get_args(ArtifactName))


@pytest.mark.parametrize("stage", CHAIN, ids=lambda stage: stage.name)
def test_needs_are_made_earlier(stage: Stage) -> None:
    earlier = {name for other in CHAIN[: CHAIN.index(stage)] for name in other.makes}
    assert set(stage.needs) <= earlier


def test_every_artifact_is_needed_but_the_last() -> None:
    needed = {name for stage in CHAIN for name in stage.needs}
    assert set(MADE) - needed == {"export"}


def test_status_names_the_same_stages() -> None:
    assert get_args(StageStatus.model_fields["name"].annotation) == get_args(StageName)
