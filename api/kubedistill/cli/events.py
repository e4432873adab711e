"""`kubedistill events`: print the Kubernetes Events of a job."""

from datetime import UTC, datetime

from kubedistill.cli.changes import short_time
from kubedistill.cli.cluster import Context, JobName, Kubeconfig, Namespace, session
from kubedistill.cli.output import DataOutput, print_values, say_line
from kubedistill.client import operations
from kubedistill.client.operations import event_time
from kubedistill.client.request import Values


def events(
    job: JobName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: DataOutput = None,
) -> None:
    """List the Kubernetes Events of a job, oldest first; a cluster keeps them for an hour."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        found = connection.run(operations.events(job, namespace=connection.namespace))
    if output is not None:
        print_values({"apiVersion": "v1", "kind": "List", "items": found}, output)
        return
    if not found:
        say_line(f"There are no events of {job}; a cluster keeps them for an hour.", err=True)
        return
    now = datetime.now(UTC)
    width = max(len(one["reason"]) for one in found)
    say_line(f"{'AGE':<8} {'TYPE':<8} {'REASON':<{width}} MESSAGE")
    for event in found:
        say_line(f"{_age(event, now):<8} {event['type']:<8} {event['reason']:<{width}} {event['message']}")


def _age(event: Values, now: datetime) -> str:
    text = event_time(event)
    return short_time((now - datetime.fromisoformat(text)).total_seconds()) if text else "?"
