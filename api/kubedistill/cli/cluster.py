"""What every command that talks to a cluster shares: which cluster, which namespace, and the connection."""

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
    str | None, typer.Option("--namespace", "-n", help="Namespace; without one, the context's.", show_default=False)
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig; without one, the current.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig; without one, $KUBECONFIG or ~/.kube/config.")]
StoreHere = Annotated[
    Path | None, typer.Option("--store", help="Folder where the job's store is mounted here.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Session:
    """One connection, and the namespace that is meant."""

    interpreter: Interpreter
    access: Access

    @property
    def namespace(self) -> str:
        """The namespace that is meant."""
        return self.access.namespace

    def run(self, operation: Operation[Found]) -> Found:
        """An operation's result."""
        return self.interpreter.run(operation)


@contextlib.contextmanager
def session(*, kubeconfig: Path | None, context: str | None, namespace: str | None) -> Iterator[Session]:
    """Connect as kubectl would; raises NoCluster where there is no way to one."""
    access = find_access(kubeconfig=kubeconfig, context=context, namespace=namespace)
    from kubedistill.client.api_server import ApiServer

    server = ApiServer(access)
    try:
        yield Session(Interpreter(server), access)
    finally:
        server.close()


def job_names(context: typer.Context, incomplete: str) -> list[str]:
    """The names of jobs that begin so, for the shell."""
    asked = {name: context.params.get(name) for name in ("kubeconfig", "context", "namespace")}
    try:
        with session(**asked) as found:
            jobs = found.run(operations.resources(namespace=found.namespace))
    except KubedistillError:  # a shell that completes has no place for a message
        return []
    return [name for job in jobs if (name := str(job["metadata"]["name"])).startswith(incomplete)]


JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Name of a job.", show_default=False, autocompletion=job_names)
]
