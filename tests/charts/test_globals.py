"""What an umbrella chart says of all images holds for the operator's and for those of jobs, which may say otherwise."""

from pathlib import Path
from typing import Any

import pytest

from kubedistill.manifest.settings import Images, Settings
from kubedistill.manifest.settings_file import load_settings
from support.chart_sets import Manifest, of_kind, only, pods
from support.helm import Helm, HelmFailed

OPERATOR = "kubedistill/operator:0.1.0"
MIRROR, OWN = "mirror.example.com:5000/all", "registry.example.com"
# Values; the image and the pull secrets of the operator's pods; registry and pull secrets of jobs.
CASES: dict[str, tuple[dict[str, Any], str, list[str], str | None, tuple[str, ...]]] = {
    "nothing": ({}, OPERATOR, [], None, ()),
    "a registry for all": ({"global": {"imageRegistry": MIRROR}}, f"{MIRROR}/{OPERATOR}", [], MIRROR, ()),
    "an empty one": ({"global": {"imageRegistry": "", "imagePullSecrets": []}}, OPERATOR, [], None, ()),
    "one of the operator's own": (
        {"global": {"imageRegistry": MIRROR}, "image": {"registry": OWN}}, f"{OWN}/{OPERATOR}", [], MIRROR, (),
    ),
    "one of the jobs' own": (
        {"global": {"imageRegistry": MIRROR}, "settings": {"images": {"registry": OWN}}},
        f"{MIRROR}/{OPERATOR}", [], OWN, (),
    ),
    "a repository that has one": (
        {"global": {"imageRegistry": MIRROR}, "image": {"repository": "ghcr.io/a/b"}},
        "ghcr.io/a/b:0.1.0", [], MIRROR, (),
    ),
    "secrets as names and as references": (
        {"global": {"imagePullSecrets": ["a", {"name": "b"}, "a"]}}, OPERATOR, ["a", "b"], None, ("a", "b"),
    ),
    "secrets of the operator's own": (
        {"global": {"imagePullSecrets": ["a"]}, "imagePullSecrets": [{"name": "own"}]}, OPERATOR, ["own"], None, ("a",),
    ),
    "secrets of the jobs' own": (
        {"global": {"imagePullSecrets": ["a"]}, "settings": {"images": {"pullSecrets": ["own"]}}},
        OPERATOR, ["a"], None, ("own",),
    ),
}  # fmt: skip


def images_of_jobs(manifests: list[Manifest], folder: Path) -> Images:
    (data,) = [one["data"] for one in of_kind(manifests, "ConfigMap") if "settings.yaml" in one["data"]]
    (folder / "settings.yaml").write_text(data["settings.yaml"])
    return load_settings(folder / "settings.yaml").images


@pytest.mark.parametrize("case", CASES)
def test_own_values_come_before_those_of_all(case: str, helm: Helm, tmp_path: Path) -> None:
    values, image, secrets, registry, secrets_of_jobs = CASES[case]
    found = helm.template(values=values)
    specs = [spec for _, spec in pods(found)]
    assert len(specs) == 2, "the operator and the test"
    for spec in specs:
        assert spec["containers"][0]["image"] == image
        assert [one["name"] for one in spec.get("imagePullSecrets", [])] == secrets
    images = images_of_jobs(found, tmp_path)
    assert (images.registry, images.pull_secrets) == (registry, secrets_of_jobs)
    assert images.runtime == Settings().images.runtime


def test_other_values_of_all_do_not_matter(helm: Helm) -> None:
    assert helm.template(values={"global": {"storageClass": "fast", "postgresql": {"auth": {}}}}) == helm.template()


def test_new_registry_makes_new_pods(helm: Helm) -> None:
    before, after = (
        only(helm.template(values=values), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        for values in ({}, {"global": {"imageRegistry": MIRROR}})
    )
    assert before["checksum/settings"] != after["checksum/settings"]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"imageRegistry": "https://mirror.example.com"}, "at '/global/imageRegistry'"),
        ({"imageRegistry": "mirror.example.com/"}, "at '/global/imageRegistry'"),
        ({"imagePullSecrets": "mirror-key"}, "at '/global/imagePullSecrets': got string, want array"),
        ({"imagePullSecrets": [{"key": "mirror-key"}]}, "at '/global/imagePullSecrets/0'"),
    ],
)
def test_settings_that_no_pod_could_use_are_refused(wrong: dict[str, Any], place: str, helm: Helm) -> None:
    with pytest.raises(HelmFailed) as caught:
        helm.template(values={"global": wrong})
    assert place in str(caught.value)
