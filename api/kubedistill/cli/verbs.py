"""`kubedistill suspend`, `resume`, `rerun` and `cancel`: commands with one request to a job."""

from collections.abc import Callable
from functools import partial

from kubedistill.cli.cluster import RESOURCE, Context, JobName, Kubeconfig, Namespace, session
from kubedistill.cli.output import Output, print_resource, say_line
from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.client.request import Operation

MakeOperation = Callable[..., Operation[Job]]


def _command(name: str, make: MakeOperation, describe: Callable[[Job], str], text: str) -> Callable[..., None]:
    """Return a command that makes one request to a job and describes the result; `text` is its help."""

    def command(
        job: JobName,
        *,
        namespace: Namespace = None,
        context: Context = None,
        kubeconfig: Kubeconfig = None,
        output: Output = None,
    ) -> None:
        with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
            found = connection.run(make(job, namespace=connection.namespace))
        if output is not None:
            print_resource(found.values, output)
        else:
            say_line(f"{RESOURCE}/{found.name} {describe(found)}")

    command.__name__, command.__doc__ = name, text
    return command


def describe_resumed(job: Job) -> str:
    """Return whether a job continues, which suspend alone does not decide."""
    suspended = job.status.condition("Suspended")
    if suspended is None or suspended.status != "True" or suspended.reason == "AsAsked":
        return "resumed"
    return f"stays suspended: {suspended.reason}: {suspended.message}"


suspend = _command(
    "suspend", partial(operations.suspend, value=True), lambda _: "suspended",
    "Make a job save its state and stop; its GPUs are free a minute later.",
)  # fmt: skip
resume = _command(
    "resume", partial(operations.suspend, value=False), describe_resumed,
    "Make a suspended job continue from its saved state.",
)  # fmt: skip
rerun = _command(
    "rerun", operations.rerun, lambda job: f"requested run {job.requested_run}",
    "Start another run of a job with its current spec; the run reuses what is in the store.",
)  # fmt: skip
cancel = _command(
    "cancel", operations.cancel, lambda job: "is already over" if job.is_over else "cancelled",
    "Stop a job permanently; its artifacts stay in the store.",
)  # fmt: skip
