"""Weights: have those of a model on this machine, where they are loaded."""

from pathlib import Path

from kubedistill_runtime.hub import Report, fetch_files, no_report
from kubedistill_runtime.models import Model


def materialize(model: Model, *, report: Report = no_report) -> Path:
    """Return a folder on this machine with all that loads a model; one of the hub is downloaded, if it is not there.

    `report` receives the progress of the download. Raises the errors of fetch_files.
    """
    if model.hub is None:
        return model.path
    hub = model.hub
    return fetch_files(hub.repository, commit=hub.commit, files=hub.files, at=model.source, fetch=True, report=report)
