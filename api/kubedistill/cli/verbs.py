"""kubedistill suspend, resume, rerun, cancel: one thing asked of a job."""

import typer

from kubedistill.cli.cluster import RESOURCE, Context, JobName, Kubeconfig, Namespace, session
from kubedistill.cli.output import Form, Output, print_resource
from kubedistill.client import scripts
from kubedistill.client.job import Job


def suspend(
    job: JobName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = None,
) -> None:
    """Have a job save and stop; its GPUs are free a minute later."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        found = connection.run(scripts.suspend(job, namespace=connection.namespace, value=True))
    _tell(found, "suspended", output)


def resume(
    job: JobName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = None,
) -> None:
    """Have a suspended job go on from where it saved."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        found = connection.run(scripts.suspend(job, namespace=connection.namespace, value=False))
    _tell(found, "resumed", output)


def rerun(
    job: JobName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = None,
) -> None:
    """Start one more run of a job's spec as it is now; what is in the store is not made again."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        found = connection.run(scripts.rerun(job, namespace=connection.namespace))
    _tell(found, f"asked for run {found.wanted_run}", output)


def cancel(
    job: JobName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = None,
) -> None:
    """Stop a job for good; what it has made stays in the store."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        found = connection.run(scripts.cancel(job, namespace=connection.namespace))
    _tell(found, "is over already" if found.is_over else "cancelled", output)


def _tell(job: Job, what: str, output: Form | None) -> None:
    if output is not None:
        print_resource(job.values, output)
    else:
        typer.echo(f"{RESOURCE}/{job.name} {what}")
