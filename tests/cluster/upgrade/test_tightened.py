"""Objects that an earlier CRD took and today's refuses: they can still be suspended, annotated and deleted."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kubedistill.printing import printable
from support.cluster_setup import ROOT, apply_crds, read_manifests
from support.kube_api import Api, Refused, wait_for
from support.old_cluster import TIGHT, OldCluster
from support.operator_harness import JOBS, small_job
from support.tightened_rules import Stored, stored_rows

pytestmark = pytest.mark.own_plane
BIN = Path(sys.executable).parent


def test_a_stored_object_that_a_new_rule_refuses_stays_usable(old_cluster: OldCluster) -> None:
    (crd,) = read_manifests(ROOT / "crds" / "kubedistill.io_distillationjobs.yaml")
    apply_crds(old_cluster.api, [crd])
    for one in stored_rows(old_cluster.old.crd, crd).values():
        # A server that has accepted a CRD uses the previous one for a moment.
        wait_for(partial(is_refused, old_cluster.api, one), what=f"a new job like {one.name} is refused", seconds=60)
        check_printed(old_cluster, one)
        check_usable(old_cluster.api, one)


def is_refused(api: Api, one: Stored) -> bool:
    """Return whether a new job like a stored one is refused."""
    try:
        api.create(small_job(f"{one.name}-again", **one.spec), namespace=TIGHT, dry_run=True)
    except Refused:
        return True
    return False


def check_printed(cluster: OldCluster, one: Stored) -> None:
    """List and show a stored job: whatever is in it, a terminal obeys none of it."""
    environment = os.environ | {"KUBECONFIG": str(cluster.plane.kubeconfig), "TERM": "dumb", "NO_COLOR": "1"}
    for arguments in (["-A", "-o", "wide"], [one.name, "-n", TIGHT], [one.name, "-n", TIGHT, "-o", "yaml"]):
        command = [str(BIN / "kubedistill"), "get", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert one.name in done.stdout
        assert printable(done.stdout) == done.stdout


def holds(found: Any, wanted: Any) -> bool:
    """Return whether a value is there as it was stored; the server also fills in defaults."""
    if isinstance(wanted, Mapping):
        return all(name in found and holds(found[name], value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


def check_usable(api: Api, one: Stored) -> None:
    """Suspend a stored job and resume it, ask for a cancellation and a rerun, write its status, delete it."""
    for suspended in (True, False):
        changed = api.patch(JOBS, one.name, {"spec": {"suspend": suspended}}, namespace=TIGHT)
        assert changed["spec"]["suspend"] is suspended
        assert holds(changed["spec"], one.spec)
    for verb in ("kubedistill.io/cancel", "kubedistill.io/rerun"):
        marked = api.patch(JOBS, one.name, {"metadata": {"annotations": {verb: "now"}}}, namespace=TIGHT)
        assert marked["metadata"]["annotations"][verb] == "now"
    told = api.patch(JOBS, one.name, {"status": {"phase": "Pending"}}, namespace=TIGHT, subresource="status")
    assert told["status"]["phase"] == "Pending"
    api.delete(JOBS, one.name, namespace=TIGHT)
    assert api.get(JOBS, one.name, namespace=TIGHT) is None
