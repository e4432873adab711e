"""Data files: where the file of each split is on this machine."""

from pathlib import Path

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.paths import entry_path, local_path
from kubedistill.v1alpha1 import DataSource, Spec
from kubedistill_runtime.datasets import commit_of, find_hub_file, parse_hub_uri
from kubedistill_runtime.records import SPLITS, Split
from kubedistill_runtime.storage.store import locate_store


def data_path(source: DataSource, *, job: StageJob, at: str) -> Path:
    """Return the path of a data source's file on this machine."""
    if source.config_map_key_ref is not None:
        reference = source.config_map_key_ref
        if reference.name not in job.config_maps:
            fix = f"Pass --configmap {reference.name}=FOLDER"
            raise InvalidManifest(f"ConfigMap {reference.name!r} is not given", at=f"{at}.configMapKeyRef", fix=fix)
        return entry_path(Path(job.config_maps[reference.name]), reference.key, at=f"{at}.configMapKeyRef.key")
    assert source.uri is not None, "the resource model requires exactly one source"
    return local_path(source.uri, root=root_path(job.data_root), at=f"{at}.uri")


def find_data(job: StageJob, split: Split, *, fetch: bool = True) -> Path:
    """Return the path of a split's data file; without `fetch`, it is not downloaded.

    Raises InvalidData, with the field, if there is none, and for a file of the hub the errors of find_hub_file.
    """
    uri = data_sources(job.spec)[split].uri
    if (file := parse_hub_uri(uri, at=f"spec.data.{split}.uri")) is not None:
        return find_hub_file(file, job=job, at=f"spec.data.{split}.uri", fetch=fetch)
    path = data_path(data_sources(job.spec)[split], job=job, at=f"spec.data.{split}")
    try:
        if path.is_file():
            return path
        problem = "there is no such file"
    except OSError as error:  # such as a folder without permission, or a name too long for the file system
        problem = f"it can't be read ({error.strerror})"
    fix = "Paths without a scheme are relative to the manifest's folder, in a cluster to the job's store"
    raise InvalidData(problem, at=f"spec.data.{split}: {path}", fix=fix)


def describe_hub_files(job: StageJob) -> list[str]:
    """Return a note with the commit of each data file of the hub."""
    named = {split: source.uri for split, source in data_sources(job.spec).items()}
    return [
        f"{split}: commit {commit_of(find_data(job, split))} of {uri}"
        for split, uri in named.items()
        if parse_hub_uri(uri, at=f"spec.data.{split}.uri") is not None
    ]


def data_sources(spec: Spec) -> dict[Split, DataSource]:
    """Return the data sources of a spec, by split."""
    found = {split: getattr(spec.data, split) for split in SPLITS}
    return {split: source for split, source in found.items() if source is not None}


def root_path(uri: str) -> Path:
    """Return the folder of a file:// URI."""
    return locate_store(uri).root
