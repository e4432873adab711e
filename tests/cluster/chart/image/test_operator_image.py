"""The operator's image as `make images` builds it and the chart starts it: without a user name, on a read-only root."""

import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.chart_release import Release
from support.fake_kuberay.background import playing
from support.image_root import ImageRoot, unpack
from support.image_tools import ROOT, find_engine
from support.kube_api import Api, wait_for
from support.operator_harness import claim
from support.small_manifests import distillation_job

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
RESTRICTED = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
"""What a process of ImageRoot is held to, so the chart must ask for it."""
USERS = {"the image's own, as a kubelet takes it": "65532:0", "one of OpenShift's": "1000720000:0"}


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> ImageRoot:
    """Return the operator's image, built by the product's own command and unpacked."""
    command = ["make", "--no-print-directory", "images", "ARGS=operator"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=900)
    tag = re.search(r"^images: built (\S+) on ", built.stdout, flags=re.MULTILINE)
    assert tag, built.stdout
    return unpack(find_engine(), tag[1], tmp_path_factory.mktemp("image") / "root")


@pytest.fixture
def release(api: Api, new_release: Callable[..., Release], namespace: str) -> Release:
    """Return a release for one namespace, with a claim, whose pods get their user from the image or the platform."""
    made = new_release()
    by_platform = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}
    made.install({"watchNamespaces": [namespace], "storage": {"volumeClaim": "shared"}}, **by_platform)
    api.apply(claim("shared"), namespace=namespace)
    return made


def phase(api: Api, name: str, *, namespace: str) -> str:
    job = api.get(JOBS, name, namespace=namespace)
    return ((job or {}).get("status") or {}).get("phase", "")


@pytest.mark.timeout(1200)  # the first one waits for the image
@pytest.mark.parametrize("user", USERS)
def test_the_image_leads_and_runs_a_job_as_a_user_without_a_name(
    user: str, image: ImageRoot, release: Release, api: Api, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    (container,) = release.pod()["containers"]
    assert container["securityContext"] == RESTRICTED
    job: dict[str, Any] = distillation_job("ok-1")
    job["spec"]["data"] = {"train": {"uri": "train.jsonl"}}
    job["spec"]["storage"] = {"uri": f"file:///kubedistill/storage/{namespace}", "volumeClaim": "shared"}
    with (
        release.pod_process(image, tmp_path, user=USERS[user]) as operator,
        playing(kubeconfig, namespace=namespace, scale=0.02),
    ):
        wait_for(operator.leads, what="it leads", seconds=120)
        wait_for(lambda: operator.probe("/readyz") == 200, what="it is ready", seconds=30)
        api.apply(job, namespace=namespace)
        wait_for(
            lambda: phase(api, "ok-1", namespace=namespace) in ("Succeeded", "Failed"), what="it ends", seconds=240
        )
        assert phase(api, "ok-1", namespace=namespace) == "Succeeded", operator.log.read_text()[-4000:]
    assert operator.process.returncode == 0
    assert not [line for line in operator.lines() if line["level"] in ("WARNING", "ERROR", "CRITICAL")]


def test_a_container_that_restarts_leads_again_at_once(image: ImageRoot, release: Release, tmp_path: Path) -> None:
    uid = str(uuid.uuid4())
    with release.pod_process(image, tmp_path, user="65532:0", name="pod", uid=uid) as first:
        wait_for(first.leads, what="the first process leads", seconds=120)
        first.process.kill()
        first.process.wait()
        with release.pod_process(image, tmp_path, user="65532:0", name="pod-again", uid=uid) as second:
            wait_for(lambda: second.probe("/readyz"), what="the second process answers", seconds=60)
            wait_for(second.leads, what="the second process leads", seconds=12)


def test_the_image_alone_says_what_it_is_for(image: ImageRoot) -> None:
    code, output = image.run([*image.entrypoint, *image.default_arguments], user="65532:0", mounts={"/tmp": None})
    assert code == 0, output
    assert "kubedistill-operator" in output


def test_the_image_needs_no_folder_that_it_may_write(image: ImageRoot) -> None:
    code, output = image.run(
        [*image.entrypoint, "explain", "team-a/support", "--kubeconfig", "/nowhere"],
        user="1000720000:0",
    )
    assert code == 2, output
    assert "the cluster cannot be reached" in output
