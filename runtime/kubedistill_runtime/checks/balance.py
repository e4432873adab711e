"""What `curation.maxShare` requires of a task with labels: a share that all labels together can have."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec


def check_max_share(spec: Spec) -> None:
    """Refuse a maximum share below that of equally frequent labels; raises InvalidManifest."""
    share, labels = spec.curation.max_share, spec.task.answer_labels
    if share is not None and labels and share * len(labels) < 1:
        raise InvalidManifest(
            f"{len(labels)} labels cannot each have a share of {share:.1%} or less",
            at="spec.curation.maxShare",
            fix=f"Raise it to at least 1 / {len(labels)}, or remove it",
        )
