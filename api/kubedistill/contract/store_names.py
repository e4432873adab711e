"""Names in a store that the runtime writes and its clients read: the folders of artifacts, jobs, runs and attempts."""

from kubedistill.chain import ArtifactName, StageName

LOCAL_RUN = "local"
"""The id of a run on one machine whose spec names none."""


def artifact_folder(name: ArtifactName, key: str) -> str:
    """Return the folder of an artifact's files, which all jobs of the store share."""
    return f"artifacts/{name}/{key}"


def job_folder(name: str, *, namespace: str) -> str:
    """Return the folder of all runs of a job."""
    return f"runs/{namespace}.{name}"


def run_folder(name: str, *, namespace: str, run: str) -> str:
    """Return the folder of a run's report and attempts."""
    return f"{job_folder(name, namespace=namespace)}/{run}"


def attempt_folder(name: str, *, namespace: str, run: str, stage: StageName, attempt: int) -> str:
    """Return the folder of an attempt's messages and logs, such as runs/team-a.support/1/train-2."""
    return f"{run_folder(name, namespace=namespace, run=run)}/{stage.lower()}-{attempt}"
