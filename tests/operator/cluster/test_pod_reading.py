"""Reading pods and nodes: why a pod waits, how it ended, and who took its node away."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_operator.cluster.pod_reading import Node, may_run, read_node, read_pod
from kubedistill_operator.observed import Pod

Values = dict[str, Any]
METADATA = {"name": "head", "uid": "pod-uid", "creationTimestamp": "2026-03-01T12:00:00Z"}


def pod(*, spec: Values | None = None, **status: Any) -> Values:
    return {"metadata": METADATA, "spec": spec or {}, "status": status}


def container(**state: Values) -> Values:
    return {"name": "driver", "state": state}


def terminated(code: int, reason: str, *, at: str = "2026-03-01T13:00:00Z") -> Values:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}


def test_a_pod_becomes_a_pod() -> None:
    found = read_pod(pod(spec={"nodeName": "n1"}, phase="Running"), node=Node(lost_since=5.0, tainted=True))
    assert found == Pod("head", "pod-uid", "Running", 1772366400.0, node="n1", node_lost_since=5.0, node_tainted=True)


@pytest.mark.parametrize(("kind", "is_worker"), [("worker", True), ("head", False), (None, False)])
def test_kuberays_label_shows_what_a_worker_is(kind: str | None, is_worker: bool) -> None:
    found = pod(phase="Running")
    found["metadata"] = {**METADATA, "labels": {} if kind is None else {"ray.io/node-type": kind}}
    assert read_pod(found).is_worker == is_worker


def test_the_time_of_a_deletion_is_the_end_of_the_grace_period() -> None:
    deleted = pod(phase="Running")
    deleted["metadata"] = {**METADATA, "deletionTimestamp": "2026-03-01T12:00:30Z", "deletionGracePeriodSeconds": 30}
    found = read_pod(deleted)
    assert (found.deleting, found.ends_by) == (True, 1772366430.0)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("Pending", "Pending"), ("Succeeded", "Succeeded"), ("Failed", "Failed"), ("Unknown", "Unknown"),
     ("Dancing", "Unknown"), (None, "Unknown"), ([], "Unknown")],
)  # fmt: skip
def test_phase(phase: Any, expected: str) -> None:
    assert read_pod(pod(phase=phase)).phase == expected


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: gpu"}
WAITS = {
    "no node": (pod(phase="Pending", conditions=[UNSCHEDULABLE]), ("Unschedulable", "0/3 nodes: gpu")),
    "image": (
        pod(
            phase="Pending",
            containerStatuses=[container(waiting={"reason": "ImagePullBackOff", "message": "back-off pulling"})],
        ),
        ("ImagePullBackOff", "back-off pulling"),
    ),
    "secret": (
        pod(
            phase="Pending",
            containerStatuses=[
                container(waiting={"reason": "ContainerCreating"}),
                container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "hf" not found'}),
            ],
        ),
        ("CreateContainerConfigError", 'secret "hf" not found'),
    ),
    "image of an init container": (
        pod(
            phase="Pending",
            initContainerStatuses=[container(waiting={"reason": "ErrImagePull"})],
            containerStatuses=[container(waiting={"reason": "PodInitializing"})],
        ),
        ("ErrImagePull", ""),
    ),
    "a head that crashes repeatedly": (
        pod(phase="Running", containerStatuses=[container(waiting={"reason": "CrashLoopBackOff"})]),
        ("CrashLoopBackOff", ""),
    ),
    "just being made": (
        pod(phase="Pending", containerStatuses=[container(waiting={"reason": "ContainerCreating"})]),
        ("ContainerCreating", ""),
    ),
    "running": (pod(phase="Running", containerStatuses=[container(running={})]), ("", "")),
}


@pytest.mark.parametrize("case", WAITS)
def test_why_a_pod_waits(case: str) -> None:
    resource, expected = WAITS[case]
    found = read_pod(resource)
    assert (found.waiting_reason, found.waiting_message) == expected


ENDS = {
    "by itself": (pod(phase="Failed", containerStatuses=[container(**terminated(1, "Error"))]), (1, "Error")),
    "claim lost": (pod(phase="Failed", containerStatuses=[container(**terminated(75, "Error"))]), (75, "Error")),
    "out of memory": (
        pod(phase="Failed", containerStatuses=[container(**terminated(137, "OOMKilled"))]), (137, "OOMKilled"),
    ),
    "out of memory, and restarted in place": (
        pod(
            phase="Running",
            containerStatuses=[container(running={}) | {"lastState": terminated(137, "OOMKilled")}],
        ),
        (137, "OOMKilled"),
    ),
    "the last of several": (
        pod(
            phase="Failed",
            initContainerStatuses=[container(**terminated(0, "Completed", at="2026-03-01T12:00:00Z"))],
            containerStatuses=[
                container(**terminated(3, "Error", at="2026-03-01T14:00:00Z")),
                container(**terminated(0, "Completed", at="2026-03-01T13:00:00Z")),
            ],
        ),
        (3, "Error"),
    ),
    "evicted by the kubelet": (pod(phase="Failed", reason="Evicted", message="low on memory"), (None, "Evicted")),
    "preempted by the scheduler": (
        pod(
            phase="Failed",
            conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
            containerStatuses=[container(**terminated(143, "Error"))],
        ),
        (143, "PreemptionByScheduler"),
    ),
    "drained": (
        pod(
            phase="Running",
            conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}],
        ),
        (None, "EvictionByEvictionAPI"),
    ),
    "not yet": (pod(phase="Running", containerStatuses=[container(running={})]), (None, "")),
}  # fmt: skip


SIDECAR = {"name": "istio-proxy", "state": terminated(143, "Error", at="2026-03-01T13:00:09Z")}
TARGET = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:30:00Z"}
FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."
# How it ended: exit code, reason, message.
ENDS_BESIDE_OTHERS = {
    "a sidecar that was started as an init container ends after the driver": (
        pod(
            phase="Failed", initContainerStatuses=[SIDECAR],
            containerStatuses=[container(**terminated(137, "OOMKilled"))],
        ),
        (137, "OOMKilled", ""),
    ),
    "a sidecar ran out of memory and the driver works": (
        pod(
            phase="Running", conditions=[READY],
            containerStatuses=[
                container(running={}),
                {"name": "agent", "state": {"running": {}}, "lastState": terminated(137, "OOMKilled")},
            ],
        ),
        (None, "", ""),
    ),
    "an init container that somebody put there failed": (
        pod(phase="Failed", initContainerStatuses=[{"name": "vault", "state": terminated(1, "Error")}]),
        (1, "Error", ""),
    ),
    "the last line of what it wrote": (
        pod(
            phase="Failed",
            containerStatuses=[
                container(terminated={"exitCode": 127, "reason": "Error", "message": "a\n ray: command not found \n\n"})
            ],
        ),
        (127, "Error", "ray: command not found"),
    ),
    "put out for what it used": (pod(phase="Failed", reason="Evicted", message=FULL), (None, "Evicted", FULL)),
    "put out for its node": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.", conditions=[TARGET]),
        (None, "TerminationByKubelet", "The node was low on resource: memory."),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS_BESIDE_OTHERS)
def test_how_a_pod_ended_is_how_our_container_did(case: str) -> None:
    resource, expected = ENDS_BESIDE_OTHERS[case]
    found = read_pod(resource)
    assert (found.exit_code, found.exit_reason, found.exit_message) == expected


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([container(running={}), {"name": "agent", "state": {"running": {}}}], "Running"),
        ([container(**terminated(0, "Completed")), {"name": "agent", "state": {"running": {}}}], "Ended"),
        ([container(running={}), {"name": "agent", "state": terminated(0, "Completed")}], "Running"),
        ([container(waiting={"reason": "PodInitializing"})], "Waiting"),
        ([{"name": "ray-head", "state": terminated(1, "Error")}], ""),
    ],
)
def test_the_state_of_a_driver_is_that_of_its_own_container(statuses: list[Values], expected: str) -> None:
    assert read_pod(pod(phase="Running", containerStatuses=statuses)).driver == expected


def test_a_ready_pod_reports_since_when_and_how_often_a_container_restarted() -> None:
    found = read_pod(
        pod(phase="Running", conditions=[READY], containerStatuses=[container(running={}) | {"restartCount": 3}])
    )
    assert (found.ready_since, found.restarts) == (1772368200.0, 3)
    assert read_pod(pod(phase="Running", conditions=[READY | {"status": "False"}])).ready_since is None


@pytest.mark.parametrize("case", ENDS)
def test_how_a_pod_ended(case: str) -> None:
    resource, expected = ENDS[case]
    found = read_pod(resource)
    assert (found.exit_code, found.exit_reason) == expected


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("Pending", True), ("Running", True), ("Unknown", True), (None, True), ("Succeeded", False), ("Failed", False)],
)
def test_only_the_node_of_a_pod_that_may_run_matters(phase: str | None, expected: bool) -> None:
    assert may_run(pod(phase=phase)) == expected


def node(*, ready: str = "True", since: str = "2026-03-01T13:00:00Z", taints: list[str] | None = None) -> Values:
    return {
        "metadata": METADATA | {"name": "n1"},
        "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints or []]},
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": ready, "lastTransitionTime": since},
            ]
        },
    }


NODES = {
    "healthy": (node(), Node()),
    "not ready": (node(ready="False"), Node(lost_since=1772370000.0)),
    "not heard of": (node(ready="Unknown"), Node(lost_since=1772370000.0)),
    "not ready since nobody knows when": (node(ready="False", since="soon"), Node(lost_since=1772366400.0)),
    "a node that never reported": ({"metadata": METADATA}, Node(lost_since=1772366400.0)),
    "tainted for what it has": (node(taints=["nvidia.com/gpu"]), Node()),
    "being drained": (node(taints=["node.kubernetes.io/unschedulable"]), Node(tainted=True)),
    "taken back by a cloud": (
        node(taints=["nvidia.com/gpu", "cloud.google.com/impending-node-termination"]), Node(tainted=True),
    ),
    "scaled down": (node(taints=["ToBeDeletedByClusterAutoscaler"]), Node(tainted=True)),
}  # fmt: skip


@pytest.mark.parametrize("case", NODES)
def test_node(case: str) -> None:
    resource, expected = NODES[case]
    assert read_node(resource) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["phase", "conditions", "containerStatuses", "initContainerStatuses", "reason"])


@given(spec=JSON, status=st.dictionaries(FIELDS, JSON) | JSON)
def test_no_pod_and_no_node_raises(spec: Any, status: Any) -> None:
    resource = {"metadata": METADATA, "spec": spec, "status": status}
    read_pod(resource, node=read_node(resource))


CREATING, ON_NODE = {"waiting": {"reason": "ContainerCreating"}}, {"nodeName": "n1"}
# A pod, and whether it is on a node and nothing of it has started.
IDLE = {
    "on no node": (pod(phase="Pending"), False),
    "just bound": (pod(phase="Pending", spec=ON_NODE), True),
    "its volumes are not there": (
        pod(phase="Pending", spec=ON_NODE, containerStatuses=[container(**CREATING)]), True,
    ),
    "its init container works": (
        pod(
            phase="Pending", spec=ON_NODE, initContainerStatuses=[container(running={})],
            containerStatuses=[container(waiting={"reason": "PodInitializing"})],
        ),
        False,
    ),
    "its init container has ended": (
        pod(
            phase="Pending", spec=ON_NODE, initContainerStatuses=[container(**terminated(0, "Completed"))],
            containerStatuses=[container(waiting={"reason": "PodInitializing"})],
        ),
        False,
    ),
    "it was started before": (
        pod(
            phase="Pending", spec=ON_NODE,
            containerStatuses=[container(**CREATING) | {"lastState": terminated(1, "Error")}],
        ),
        False,
    ),
    "kubelet took it for none": (pod(phase="Failed", spec=ON_NODE, reason="UnexpectedAdmissionError"), False),
}  # fmt: skip


@pytest.mark.parametrize("case", IDLE)
def test_whether_a_pod_is_idle(case: str) -> None:
    resource, expected = IDLE[case]
    assert read_pod(resource).is_idle is expected
