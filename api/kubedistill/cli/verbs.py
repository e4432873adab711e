"""kubedistill suspend, resume, rerun, cancel: one thing asked of a job."""

from collections.abc import Callable
from functools import partial

from kubedistill.cli.cluster import RESOURCE, Context, JobName, Kubeconfig, Namespace, session
from kubedistill.cli.output import Output, print_resource, say_line
from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.client.request import Operation

Ask = Callable[..., Operation[Job]]


def _verb(name: str, ask: Ask, tell: Callable[[Job], str], text: str) -> Callable[..., None]:
    """A command that asks one thing of a job and tells what came of it; `text` is its help."""

    def command(
        job: JobName,
        *,
        namespace: Namespace = None,
        context: Context = None,
        kubeconfig: Kubeconfig = None,
        output: Output = None,
    ) -> None:
        with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
            found = connection.run(ask(job, namespace=connection.namespace))
        if output is not None:
            print_resource(found.values, output)
        else:
            say_line(f"{RESOURCE}/{found.name} {tell(found)}")

    command.__name__, command.__doc__ = name, text
    return command


suspend = _verb(
    "suspend", partial(operations.suspend, value=True), lambda _: "suspended",
    "Have a job save and stop; its GPUs are free a minute later.",
)  # fmt: skip
resume = _verb(
    "resume", partial(operations.suspend, value=False), lambda _: "resumed",
    "Have a suspended job go on from where it saved.",
)  # fmt: skip
rerun = _verb(
    "rerun", operations.rerun, lambda job: f"asked for run {job.wanted_run}",
    "Start one more run of a job's spec as it is now; what is in the store is not made again.",
)  # fmt: skip
cancel = _verb(
    "cancel", operations.cancel, lambda job: "is over already" if job.is_over else "cancelled",
    "Stop a job for good; what it has made stays in the store.",
)  # fmt: skip
