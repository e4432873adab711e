"""`kubedistill logs`: print the log of the driver of a stage."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from kubedistill.chain import StageName
from kubedistill.cli.cluster import Context, JobName, Kubeconfig, Namespace, Session, StoreHere, session
from kubedistill.cli.output import say_colored, say_line
from kubedistill.client import operations
from kubedistill.client.logs import Log
from kubedistill.client.logs import logs as read_logs
from kubedistill.errors import NotAvailable

_SECONDS = 2.0
_LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


def logs(
    job: JobName,
    *,
    stage: Annotated[
        StageName | None, typer.Option(help="Stage; by default, the running one.", case_sensitive=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the job is over.")] = False,
    raw: Annotated[bool, typer.Option("--json", help="Print the lines unchanged, in JSON.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    store: StoreHere = None,
) -> None:
    """Print the log of a stage's driver, from its pod while that exists, and from the store later."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        operation = read_logs(job, namespace=connection.namespace, stage=stage, store=store)
        if not follow:
            for log in connection.run(operation):
                _print(log, skip=0, raw=raw)
            return
        printed: dict[str, int] = {}
        while True:
            over = connection.run(operations.get(job, namespace=connection.namespace)).is_over
            for log in _available_logs(connection, job, stage, store):
                _print(log, skip=printed.get(log.source, 0), raw=raw)
                printed[log.source] = len(log.lines)
            if over:
                return
            time.sleep(_SECONDS)


def _available_logs(connection: Session, job: str, stage: str | None, store: Path | None) -> list[Log]:
    """Return the logs that can be read now; none before the stage has one."""
    try:
        return connection.run(read_logs(job, namespace=connection.namespace, stage=stage, store=store))
    except NotAvailable:  # --follow waits for it
        return []


def _print(log: Log, *, skip: int, raw: bool) -> None:
    """Print the lines of a log after the first `skip` lines."""
    if skip == 0:
        say_line(f"{log.stage}, {log.source}:", err=True)
    for line in log.lines[skip:]:
        if raw:
            say_line(line)
        else:
            say_colored(*readable(line))


def readable(line: str) -> list[tuple[str, str | None]]:
    """Return the parts of a line of JSON for people, each with its color; return any other line unchanged."""
    try:
        record = json.loads(line)
    except ValueError:
        return [(line, None)]
    if not isinstance(record, dict) or "message" not in record:
        return [(line, None)]
    clock, level = str(record.get("at", ""))[11:19], str(record.get("level", ""))
    parts: list[tuple[str, str | None]] = []
    for text, color in ((clock, None), (level, _LEVELS.get(level)), (str(record["message"]), None)):
        if text:
            parts += [(" ", None), (text, color)] if parts else [(text, color)]
    return [*parts, (f"\n{record['traceback']}", None)] if record.get("traceback") else parts
