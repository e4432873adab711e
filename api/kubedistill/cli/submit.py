"""`kubedistill submit`: create or change a job in a cluster."""

from typing import Annotated

import typer

from kubedistill.cli.cluster import RESOURCE, Context, Kubeconfig, Namespace, session
from kubedistill.cli.output import Output, print_resource, say_line
from kubedistill.cli.program import with_program_name
from kubedistill.cli.validate import Manifest
from kubedistill.cli.watch import follow_job
from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.manifest.document import read_document
from kubedistill.manifest.loading import load_manifest
from kubedistill.v1alpha1 import LIVE_FIELDS, Spec


def submit(
    manifest: Manifest,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    force: Annotated[bool, typer.Option("--force-conflicts", help="Take over fields of other managers.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the server check the job, and change nothing.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job until it ends.")] = False,
    output: Output = None,
) -> None:
    """Create a job in the cluster, or update it to the manifest."""
    load_manifest(manifest)
    values = read_document(manifest).values  # with labels and annotations, which the model does not have
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        operation = operations.submit(
            values, namespace=namespace, default=connection.namespace, force=force, dry_run=dry_run
        )
        submitted = connection.run(operation)
        job, suffix = submitted.job, " (server dry run)" if dry_run else ""
        if output is not None:
            print_resource(job.values, output)
        else:
            say_line(f"{RESOURCE}/{job.name} {submitted.change}{suffix}")
            if submitted.change == "configured" and (hint := _hint(job)):
                say_line(hint, err=True)
        if watch and not dry_run:
            raise typer.Exit(follow_job(connection, job.name, namespace=job.namespace, timeout=None))


def _hint(job: Job) -> str:
    """Return what to do if an update has no effect on the current run; otherwise an empty string."""
    run = job.status.run
    if run is None or job.requested_run is not None:
        return ""
    live = ", ".join(Spec.model_fields[name].alias or name for name in sorted(LIVE_FIELDS))
    state = "is over" if job.is_over else f"continues with the spec that it was started with, except for {live}"
    command = f"`kubedistill rerun {job.name} -n {job.namespace}`"
    return with_program_name(f"Run {run.id} {state}. To start a run with the new spec: {command}")
