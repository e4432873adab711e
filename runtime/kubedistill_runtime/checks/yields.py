"""Whether a stage gave enough results, checked when an artifact is made, and in Prepare if it exists already.

The ratios are not part of any key, since they do not change the content of an artifact.
"""

from collections.abc import Mapping

from kubedistill.chain import ArtifactName
from kubedistill.contract.artifacts import AnswersFigures, DatasetFigures, SamplesFigures
from kubedistill.errors import InvalidManifest, LowYield
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.storage.artifacts import find, read_figures
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.objectives import OBJECTIVES
from kubedistill_runtime.training.objectives.requirements import stored_logprobs


def check_yields(keys: Mapping[ArtifactName, str], *, spec: Spec, store: Store) -> None:
    """Check complete artifacts against the ratios of this manifest; raises LowYield."""
    names: tuple[ArtifactName, ...] = ("answers", "judge")
    for name in names:
        if find(store, name, keys[name]).complete:
            for split, part in read_figures(store, name, keys[name], AnswersFigures).splits.items():
                check_success(part.asked, part.ended, split=split, spec=spec)
    if find(store, "dataset", keys["dataset"]).complete:
        check_kept(read_figures(store, "dataset", keys["dataset"], DatasetFigures), spec=spec)


def check_success(asked: int, ended: int, *, split: str, spec: Spec) -> None:
    """Check that enough answers of a split ended by themselves; raises LowYield."""
    least = spec.generation.min_success_ratio
    if ended < least * asked:
        raise LowYield(
            f"{ended} of {asked} {split} answers ended by themselves, which is below minSuccessRatio {least:.0%}",
            at="spec.generation.minSuccessRatio",
            fix="Raise generation.maxTokens or maxModelLen, or check the teacher's chat template",
        )


def check_kept(figures: DatasetFigures, *, spec: Spec) -> None:
    """Check that enough prompts of a dataset have a kept answer; raises LowYield."""
    ratio, least = figures.keep_ratio, spec.curation.min_keep_ratio
    if ratio < least:
        reasons = sorted(figures.rejected.items(), key=lambda item: -item[1])
        top = ", ".join(f"{count} {reason}" for reason, count in reasons[:3])
        raise LowYield(
            f"{ratio:.1%} of the prompts have a kept answer, which is below minKeepRatio {least:.1%} ({top})",
            at="spec.curation.minKeepRatio",
            fix="Check rejected.jsonl in the dataset artifact, then fix the prompts or lower the ratio",
        )


def check_distributions(samples: SamplesFigures, *, objective: str) -> None:
    """Check that an objective which learns from stored distributions has at least one; raises InvalidManifest."""
    if stored_logprobs in OBJECTIVES[objective].requirements and samples.without_logprobs == samples.samples:
        raise InvalidManifest(
            f"no sample has a distribution of the teacher, so {objective} would learn from the text alone",
            at="spec.training.objective.type",
            fix="Set it to Sequence, or check the tokenizer of the teacher's endpoint",
        )
