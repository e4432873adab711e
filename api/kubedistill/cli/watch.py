"""`kubedistill watch`: follow a job until it ends."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from kubedistill.cli.changes import changes, ending
from kubedistill.cli.cluster import Context, JobName, Kubeconfig, Namespace, Session, session
from kubedistill.cli.output import say_line
from kubedistill.cli.program import with_program_name
from kubedistill.client.follow import follow
from kubedistill.client.job import Job
from kubedistill.errors import EXIT_FAILED

if TYPE_CHECKING:
    from kubedistill.cli.terminal import Terminal

_EXIT_INTERRUPTED = 130


def watch(
    job: JobName,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many seconds; by default, never.", show_default=False)
    ] = None,
) -> None:
    """Follow a job until it ends. Exit code: 0 if it succeeded, 3 if its evaluation gate failed, otherwise 1."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        raise typer.Exit(follow_job(connection, job, namespace=connection.namespace, timeout=timeout))


def follow_job(connection: Session, name: str, *, namespace: str, timeout: float | None) -> int:
    """Show a job as it changes, and return its exit code."""
    versions: Iterator[Job] = connection.interpreter.stream(follow(name, namespace=namespace, seconds=timeout))
    from kubedistill.cli.terminal import Terminal

    console = Terminal()
    try:
        last = _draw(versions, console) if console.is_terminal else _print_changes(versions)
    except KeyboardInterrupt:
        again = f"`kubedistill watch {name} -n {namespace}`"
        say_line(with_program_name(f"The job continues to run. To follow it again: {again}"), err=True)
        return _EXIT_INTERRUPTED
    return EXIT_FAILED if last is None else last.exit_code


def _draw(versions: Iterator[Job], console: "Terminal") -> Job | None:
    """Draw a picture of each version in place."""
    from rich.live import Live

    from kubedistill.cli.picture import picture

    last: Job | None = None
    with Live(console=console, refresh_per_second=4, get_renderable=lambda: picture(last) if last else "") as live:
        for job in versions:
            last = job
            live.refresh()
    return last


def _print_changes(versions: Iterator[Job]) -> Job | None:
    """Print a line for each change."""
    last: Job | None = None
    for job in versions:
        for line in changes(last, job):
            say_line(line)
        last = job
    for line in ending(last) if last is not None else ():
        say_line(line)
    return last
