"""The two ConfigMaps of an attempt: what its driver reads, and where it reports."""

import json

from kubedistill.contract import MESSAGE_BYTES, STAGE_JOB_BYTES
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.plan import Manifest


def check_size(spec: Spec) -> None:
    """Raise InvalidManifest if a spec does not fit into a StageJob."""
    most = STAGE_JOB_BYTES - MESSAGE_BYTES  # the rest of a StageJob is small
    if (size := len(json.dumps(spec_values(spec), ensure_ascii=False).encode())) > most:
        problem = f"it has {size // 1024} KiB, and the limit is {most // 1024} KiB"
        raise InvalidManifest(problem, at="spec", fix="Shorten its longest strings")


def job_config_map(request: ChildRequest) -> Manifest:
    """Return `<child>`: the StageJob, immutable and owned by the child, whose pod starts once it exists."""
    metadata = request.metadata(request.name, owner=request.child)
    return {
        **KINDS["ConfigMap"].header,
        "metadata": metadata,
        "immutable": True,
        "data": {"job.json": request.stage_job.to_json()},
    }


def channel_config_map(request: ChildRequest) -> Manifest:
    """Return `<child>-out`: claimed by the driver that shows the token, and written by no other."""
    return {
        **KINDS["ConfigMap"].header,
        "metadata": request.metadata(request.channel),
        "data": {"owner": request.stage_job.token, "starts": "0"},
    }
