"""The two ConfigMaps of an attempt: what its driver is told, and where it answers."""

import json

from kubedistill.contract import MESSAGE_BYTES, STAGE_JOB_BYTES
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.plan import Manifest


def check_size(spec: Spec) -> None:
    """Raise InvalidManifest where a StageJob can't carry a spec."""
    most = STAGE_JOB_BYTES - MESSAGE_BYTES  # what it has beside the spec is small
    if (size := len(json.dumps(spec_values(spec), ensure_ascii=False).encode())) > most:
        problem = f"{size // 1024} KiB, and {most // 1024} KiB is the most"
        raise InvalidManifest(problem, at="spec", fix="Shorten its longest texts")


def job_config_map(request: ChildRequest) -> Manifest:
    """`<child>`: the StageJob, which never changes. Its pod starts when it is there, and it goes with the child."""
    metadata = request.metadata(request.name, owner=request.child)
    return {
        **KINDS["ConfigMap"].header,
        "metadata": metadata,
        "immutable": True,
        "data": {"job.json": request.stage_job.to_json()},
    }


def channel_config_map(request: ChildRequest) -> Manifest:
    """`<child>-out`: claimed by whoever shows the token, and written by nobody else."""
    return {
        **KINDS["ConfigMap"].header,
        "metadata": request.metadata(request.channel),
        "data": {"owner": request.stage_job.token, "starts": "0"},
    }
