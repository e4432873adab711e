"""GPU-seconds of an attempt that this version began to count and an earlier one ends, as docs/platform.md says."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedistill.v1alpha1 import API_VERSION, KIND, spec_values
from support.fake_cluster import NAME, NAMESPACE, UID, FakeCluster, begin, stage_of
from support.old_code import unpack_operator
from support.stored_release import StoredRelease, releases

END = """
import json, sys
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_operator.decisions.reconcile import Settings, reconcile
from kubedistill_operator.job import parse_job
from kubedistill_operator.observed import Attempt, Observed

given = json.load(sys.stdin)
channel = read_channel(given["channel"], now=given["now"])
observed = Observed(attempt=Attempt(None, channel))
plan = reconcile(parse_job(given["job"]), observed, now=given["now"], settings=Settings())
print(plan.status.model_dump_json(by_alias=True))
"""
"""What an operator makes of a job whose driver has just written its result."""


def resource_of(cluster: FakeCluster, *, artifacts: Sequence[str]) -> dict[str, Any]:
    """Return the job as the API server holds it, with the artifacts of a run that a version has started."""
    metadata = {"namespace": NAMESPACE, "name": NAME, "uid": UID, "generation": 1, "resourceVersion": "1"}
    metadata["creationTimestamp"] = "2026-03-01T12:00:00Z"
    status = json.loads(cluster.status.model_dump_json(by_alias=True, exclude_none=True))
    status["run"]["artifacts"] = [one for one in status["run"]["artifacts"] if one["name"] in artifacts]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": spec_values(cluster.spec),
        "status": status,
    }


@pytest.mark.parametrize("old", releases(), ids=lambda old: old.version)
def test_an_attempt_is_counted_twice_only_where_no_record_of_it_is_left(old: StoredRelease, tmp_path: Path) -> None:
    cluster = FakeCluster()
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.progress(name, done=1, gpu_seconds=100.0)
    cluster.settle()
    train = stage_of(cluster, "Train")
    assert (train.gpu_seconds, train.latest_gpu_seconds) == (100.0, 100.0)
    before = resource_of(cluster, artifacts=old.artifacts)
    assert {"reportedAt", "reportStamp"} <= next(
        one for one in before["status"]["stages"] if one["state"] == "Running"
    ).keys()
    cluster.result(name, gpu_seconds=160.0)
    channel = cluster.channels[name]
    assert channel.result is not None
    made = {one: ref for one, ref in channel.result.artifacts.items() if one in old.artifacts}
    data = {
        "owner": channel.owner,
        "starts": "1",
        "result.json": channel.result.model_copy(update={"artifacts": made}).to_json(),
    }
    given = {"job": before, "channel": {"kind": "ConfigMap", "metadata": {}, "data": data}, "now": cluster.now}
    code = unpack_operator(old.operator, tmp_path / "code")
    ended = next(
        one for one in json.loads(code.python(END, text=json.dumps(given)))["stages"] if one["name"] == "Train"
    )
    cluster.settle()
    assert stage_of(cluster, "Train").gpu_seconds == 160.0
    knows = "latestGpuSeconds" in json.dumps(old.crd)
    assert (ended["state"], ended["gpuSeconds"]) == ("Succeeded", 160.0 if knows else 160.0 + 100.0)
