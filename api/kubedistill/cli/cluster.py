"""Options and the connection that all commands for a cluster share."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kubedistill.client import operations
from kubedistill.client.access import Access, find_access
from kubedistill.client.interpreters import Interpreter
from kubedistill.client.request import Found, Operation
from kubedistill.errors import KubedistillError

RESOURCE = "distillationjob.kubedistill.io"

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace; by default, the one of the context.", show_default=False),
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig; by default, the current one.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig; by default, $KUBECONFIG or ~/.kube/config.")]
StoreHere = Annotated[
    Path | None,
    typer.Option("--store", help="Folder where the job's store is mounted on this machine.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to a cluster, and the namespace of the command."""

    interpreter: Interpreter
    access: Access

    @property
    def namespace(self) -> str:
        """The namespace that the user named, or the one of the context."""
        return self.access.namespace

    def run(self, operation: Operation[Found]) -> Found:
        """Return the result of an operation."""
        return self.interpreter.run(operation)


@contextlib.contextmanager
def session(*, kubeconfig: Path | None, context: str | None, namespace: str | None) -> Iterator[Session]:
    """Connect as kubectl does; raises NoCluster if there is no cluster to connect to."""
    access = find_access(kubeconfig=kubeconfig, context=context, namespace=namespace)
    from kubedistill.client.api_server import ApiServer

    server = ApiServer(access)
    try:
        yield Session(Interpreter(server), access)
    finally:
        server.close()


def job_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of jobs with this prefix, for completion in a shell."""
    asked = {name: context.params.get(name) for name in ("kubeconfig", "context", "namespace")}
    try:
        with session(**asked) as found:
            jobs = found.run(operations.resources(namespace=found.namespace))
    except KubedistillError:  # completion can't show a message
        return []
    return [name for job in jobs if (name := str(job["metadata"]["name"])).startswith(incomplete)]


JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Name of a job.", show_default=False, autocompletion=job_names)
]
