"""The commands that the pages name do on a real API server what the pages say."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from package_chart import package
from support.chart_release import Release
from support.chart_sets import CHART
from support.helm import HelmFailed
from support.kube_api import Api, Manifest, Refused
from support.kubectl import Kubectl, has_kubectl
from support.operator_harness import small_job

JOBS, CRDS = "kubedistill.io/v1alpha1/DistillationJob", "apiextensions.k8s.io/v1/CustomResourceDefinition"
KIND = "distillationjobs.kubedistill.io"
README, ARGO = CHART / "README.md", CHART.parents[1] / "docs" / "argocd.md"
GIT, HAND = "argocd-controller", "kubectl"


def blocks(page: Path, *, under: str, kind: str = "") -> list[str]:
    """Return the blocks of one language below a title of a page."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {under}\n")[2].partition("\n## ")[0]
    found = [
        text
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        if language == kind
    ]
    assert found, f"{page.name} shows blocks under {under!r}"
    return found


@pytest.fixture
def kubectl(kubeconfig: Path, namespace: str, tmp_path: Path) -> Kubectl:
    assert has_kubectl(), "install kubectl: the commands of the pages are run with it"
    return Kubectl(kubeconfig, namespace, tmp_path / "kubectl")


def owner(api: Api) -> tuple[str, str]:
    """Return the release that the kind belongs to."""
    crd = api.get(CRDS, KIND)
    assert crd
    found = crd["metadata"]["annotations"]
    return found["meta.helm.sh/release-name"], found["meta.helm.sh/release-namespace"]


def disown_kind(api: Api) -> None:
    """Make the kind look as if no Helm had ever seen it."""
    names = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
    metadata = {"labels": {"app.kubernetes.io/managed-by": None}, "annotations": dict.fromkeys(names)}
    api.patch(CRDS, KIND, {"metadata": metadata})


@pytest.fixture(autouse=True)
def _kind_without_owner(api: Api) -> Iterator[None]:
    """Else annotations stay kubectl's, and Helm 4 does not write over what is another manager's."""
    yield
    disown_kind(api)


AGAIN = blocks(README, under="Reinstall under another name")
REINSTALLS = {"taken over": AGAIN[0], "annotated": AGAIN[1], "left to others": AGAIN[2]}


@pytest.mark.parametrize("way", REINSTALLS)
def test_the_kind_that_an_uninstall_left_does_not_keep_a_release_of_another_name_out(
    way: str, api: Api, new_release: Callable[..., Release], kubectl: Kubectl
) -> None:
    first = new_release("first")
    first.install({}, "--take-ownership", crds={"install": True})
    first.uninstall()
    again = new_release("again")
    with pytest.raises(HelmFailed, match="invalid ownership metadata"):
        again.install({}, crds={"install": True})
    for line in REINSTALLS[way].replace("kubedistill-system", again.namespace).splitlines():
        program, *arguments = shlex.split(line)
        if program == "kubectl":
            kubectl(*arguments)
        else:
            verb, name, chart, *options = arguments
            assert (program, verb, name, CHART.parents[1] / chart) == ("helm", "install", again.name, CHART)
            again.helm.run(verb, name, str(CHART), *options)
    assert again.deployment()
    here, before = (again.name, again.namespace), (first.name, first.namespace)
    assert owner(api) == (before if way == "left to others" else here)


def test_a_kind_that_was_applied_by_hand_is_labelled_first(
    api: Api, new_release: Callable[..., Release], kubectl: Kubectl
) -> None:
    disown_kind(api)
    again = new_release("again")
    page = README.read_text(encoding="utf-8")
    (label,) = re.findall(r"`(kubectl label crd .*?)`", page)
    annotate = AGAIN[1].splitlines()[0].replace("kubedistill-system", again.namespace)
    for line in (label, annotate):
        kubectl(*shlex.split(line)[1:])
    again.install({}, crds={"install": True})
    assert owner(api) == (again.name, again.namespace)


def test_rendered_manifests_without_tests_apply_twice(
    api: Api, kubectl: Kubectl, new_release: Callable[..., Release], namespace: str, tmp_path: Path
) -> None:
    release = new_release("kubedistill", namespace=namespace)
    line = blocks(README, under="Install without Helm or without network access")[0].strip()
    rendering, applying = (shlex.split(one) for one in line.replace("kubedistill-system", namespace).split(" | "))
    assert rendering[:4] == ["helm", "template", "kubedistill", "charts/kubedistill"]
    for port in (8080, 8081):
        values = {"crds": {"install": False}, "settings": {"port": port}}
        text = release.helm.run("template", "kubedistill", str(CHART), *rendering[4:], values=values)
        (tmp_path / "rendered.yaml").write_text(text)
        kubectl(*applying[1:-1], str(tmp_path / "rendered.yaml"))
        kinds = {one["kind"] for one in yaml.safe_load_all(text) if one}
        assert "Deployment" in kinds
        assert "Pod" not in kinds
    assert release.deployment()["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 8081
    for one in yaml.safe_load_all(text):
        if one and not one["metadata"].get("namespace"):
            api.delete(f"{one['apiVersion']}/{one['kind']}", one["metadata"]["name"])


def test_packed_chart_installs_with_the_images_of_a_mirror(new_release: Callable[..., Release], tmp_path: Path) -> None:
    release = new_release("kubedistill")
    package(release.helm.binary, into=tmp_path)
    check, install = blocks(README, under="Install without Helm or without network access")[1].splitlines()
    subprocess.run(shlex.split(check), cwd=tmp_path, check=True, capture_output=True)
    _, verb, name, archive, *options = shlex.split(install.replace("kubedistill-system", release.namespace))
    release.helm.run(verb, name, str(tmp_path / archive), *options, "--set", "crds.install=false")
    (container,) = release.deployment()["spec"]["template"]["spec"]["containers"]
    images = (tmp_path / "images.txt").read_text().splitlines()
    assert container["image"].removeprefix("registry.example.com/mirror/") in images


def kustomized(kubectl: Kubectl, job: Manifest, folder: Path, kustomization: str) -> Manifest:
    folder.mkdir()
    (folder / "job.yaml").write_text(json.dumps(job))
    (folder / "kustomization.yaml").write_text(kustomization)
    return dict(yaml.safe_load(kubectl("kustomize", str(folder))))


def test_kustomize_patches_a_job_by_path_and_loses_a_teacher_by_name(
    api: Api, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    job = small_job("support")
    (by_path,) = blocks(ARGO, under="Kustomize", kind="yaml")
    patched = kustomized(kubectl, job, tmp_path / "path", by_path)
    taken = api.create(patched, namespace=namespace, dry_run=True, strict=True)["spec"]
    assert taken["teachers"][0]["resources"] == {"pool": "h200", "replicas": 2}
    assert taken["teachers"][0]["model"]["source"] == "teacher"
    assert taken["student"]["resources"]["workers"] == 4

    def merged(folder: str, **spec: Any) -> Manifest:
        patch = json.dumps({**job, "spec": spec})
        return kustomized(
            kubectl, job, tmp_path / folder, json.dumps({**yaml.safe_load(by_path), "patches": [{"patch": patch}]})
        )

    assert merged("outside-lists", student={"resources": {"workers": 4}})["spec"]["student"] == {
        "model": {"source": "student"},
        "resources": {"workers": 4},
    }
    broken = merged("in-a-list", teachers=[{"name": "main", "resources": {"pool": "h200"}}])
    with pytest.raises(Refused, match=r"spec\.teachers\[0\].*exactly one of model and endpoint"):
        api.create(broken, namespace=namespace, dry_run=True)


EDITS: dict[str, tuple[dict[str, Any], str | None]] = {
    "a teacher is renamed": ({"teachers": [{"name": "other", "model": {"source": "teacher"}}]}, None),
    "data comes from elsewhere": (
        {"data": {"train": {"configMapKeyRef": {"name": "rows", "key": "train.jsonl"}}}}, "exactly one of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_git_takes_a_job_over_from_another_manager(
    edit: str, api: Api, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    changes, refusal = EDITS[edit]
    job = small_job("support")
    after = {**job, "spec": {**job["spec"], **changes}}
    api.apply(job, namespace=namespace, manager=HAND)
    if refusal is None:
        both = api.apply(after, namespace=namespace, manager=GIT, dry_run=True)["spec"]["teachers"]
        assert [one["name"] for one in both] == ["main", "other"]
    else:
        with pytest.raises(Refused, match=refusal):
            api.apply(after, namespace=namespace, manager=GIT)
    assert f"manager: {HAND}" in kubectl(*shlex.split("get dj support -o yaml --show-managed-fields"))
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    (tmp_path / "name.yaml").write_text(blocks(ARGO, under="Change the field manager", kind="yaml")[0])
    for line in blocks(ARGO, under="Change the field manager", kind="bash")[0].splitlines():
        _, *arguments, file = shlex.split(line)
        kubectl(*arguments, str(tmp_path / file))
    assert (
        api.apply(job, namespace=namespace, manager=GIT, dry_run=True)["spec"]
        == api.get(JOBS, "support", namespace=namespace)["spec"]
    ), "nothing changes by it"
    taken = api.apply(after, namespace=namespace, manager=GIT)["spec"]
    assert [one["name"] for one in taken["teachers"]] == [one["name"] for one in after["spec"]["teachers"]]
    sources = {"uri", "configMapKeyRef"}
    assert taken["data"]["train"].keys() & sources == after["spec"]["data"]["train"].keys()
