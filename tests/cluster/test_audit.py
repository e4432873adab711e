"""deploy/audit/policy.yaml on a real API server: what docs/operations.md says is written down is, and no content."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster_setup import ROOT, account_kubeconfig, install_crds
from support.control_plane import ControlPlane
from support.kube_api import Api, Refused, wait_for
from support.small_manifests import config_map, distillation_job

pytestmark = pytest.mark.own_plane
JOBS = "kubedistill.io/v1alpha1/DistillationJob"
TEAM, SECRET = "team-a", "hunter2hunter2"


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[tuple[Api, Path]]:
    """Yield a server of the test's own with the policy, and its log."""
    log = tmp_path / "audit.log"
    policy = ROOT / "deploy" / "audit" / "policy.yaml"
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}")
    plane = ControlPlane(tmp_path / "plane", dies_with_us=True, server_flags=flags)
    try:
        plane.start_server()
        with Api(plane.kubeconfig) as api:
            install_crds(api)
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
            yield api, log
    finally:
        plane.down()


def entries(log: Path) -> list[tuple[str, str, str, str, int]]:
    """Return (user, verb, resource with subresource, name, code) of what is written down in the team's namespace."""
    found: list[tuple[str, str, str, str, int]] = []
    for line in log.read_text(encoding="utf-8").splitlines():
        event: dict[str, Any] = json.loads(line)
        about = event["objectRef"]
        if about.get("namespace") == TEAM:
            resource = "/".join(part for part in (about["resource"], about.get("subresource", "")) if part)
            code = event["responseStatus"]["code"]
            found.append((event["user"]["username"], event["verb"], resource, about.get("name", ""), code))
    return found


def test_the_audit_log_has_all_writes_to_a_job_and_to_its_objects(audited: tuple[Api, Path], tmp_path: Path) -> None:
    api, log = audited
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "intruder"}}, namespace=TEAM)
    api.create(distillation_job("support"), namespace=TEAM)
    api.patch(JOBS, "support", {"spec": {"suspend": True}}, namespace=TEAM)
    api.patch(JOBS, "support", {"status": {"phase": "Suspended"}}, namespace=TEAM, subresource="status")
    api.create(config_map("support-prepare-abcde", **{"job.json": SECRET}), namespace=TEAM)
    api.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"t": SECRET}}, namespace=TEAM
    )
    intruder = account_kubeconfig(api, "intruder", namespace=TEAM, file=tmp_path / "intruder")
    with Api(intruder) as other, pytest.raises(Refused, match="403"):
        other.create(config_map("support-prepare-abcde-out", owner="me"), namespace=TEAM)
    api.delete(JOBS, "support", namespace=TEAM)
    admin = next(
        user for user, verb, resource, _, _ in entries(log) if (verb, resource) == ("create", "distillationjobs")
    )
    wanted = {
        (admin, "create", "distillationjobs", "support", 201),
        (admin, "patch", "distillationjobs", "support", 200),
        (admin, "patch", "distillationjobs/status", "support", 200),
        (admin, "create", "configmaps", "support-prepare-abcde", 201),
        (admin, "create", "serviceaccounts/token", "intruder", 201),
        # Who may not write at all is refused before the server has read the object's name.
        (f"system:serviceaccount:{TEAM}:intruder", "create", "configmaps", "", 403),
        (admin, "delete", "distillationjobs", "support", 200),
    }
    wait_for(lambda: wanted <= set(entries(log)), what="all of it is in the log", seconds=30)
    text = log.read_text(encoding="utf-8")
    assert SECRET not in text
    assert '"resource":"secrets"' not in text
    assert '"suspend":true' in text, "what was asked of a job is there"
