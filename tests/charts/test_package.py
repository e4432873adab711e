"""`make package`: what is handed to a mirror without network is whole, and the same bytes each time."""

import hashlib
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from package_chart import package
from support.chart_sets import CHART, Manifest, of_kind, pods
from support.helm import Helm


@pytest.fixture(scope="session")
def dist(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "dist"
    package(helm.binary, into=folder)
    return folder


def images_of(manifests: list[Manifest]) -> set[str]:
    """Return all images that pods of a release and pods of its jobs are made from."""
    (data,) = [one["data"] for one in of_kind(manifests, "ConfigMap") if "settings.yaml" in one["data"]]
    jobs: dict[str, Any] = yaml.safe_load(data["settings.yaml"])["images"]
    own = {container["image"] for _, spec in pods(manifests) for container in spec["containers"]}
    return own | {value for value in jobs.values() if ":" in value}


def test_the_archive_installs_what_the_folder_does(dist: Path, helm: Helm) -> None:
    archive = dist / f"kubedistill-{yaml.safe_load((CHART / 'Chart.yaml').read_text())['version']}.tgz"
    assert helm.template(chart=archive) == helm.template()


def test_the_list_names_every_image_that_is_pulled(dist: Path, helm: Helm) -> None:
    listed = (dist / "images.txt").read_text().splitlines()
    assert set(listed) == images_of(helm.template(chart=next(dist.glob("*.tgz"))))
    annotated = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]["artifacthub.io/images"]
    assert [one["image"] for one in yaml.safe_load(annotated)] == listed


def test_the_checksums_are_those_of_all_other_files(dist: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.iterdir()}
    del files["SHA256SUMS"]
    assert sums == files


def test_two_packages_have_the_same_bytes(dist: Path, helm: Helm, tmp_path: Path) -> None:
    package(helm.binary, into=tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def test_the_archive_holds_every_file_but_the_value_sets_of_tests(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tgz"))) as archive:
        held = {member.name for member in archive}
    ours = {path.relative_to(CHART) for path in CHART.rglob("*") if path.is_file()}
    assert held == {f"{CHART.name}/{path}" for path in ours if path.parts[0] != "ci"}


def test_an_edit_of_the_chart_changes_the_checksum(dist: Path, helm: Helm, tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(CHART, tmp_path / CHART.name)
    (tmp_path / CHART.name / "README.md").write_text("other")
    monkeypatch.setattr("package_chart.CHART", tmp_path / CHART.name)
    package(helm.binary, into=tmp_path / "dist")
    assert (tmp_path / "dist" / "SHA256SUMS").read_text() != (dist / "SHA256SUMS").read_text()
