"""Entry point: `python -m kubedistill_runtime --job job.json` runs one stage, `--manifest job.yaml` a whole job.

The environment is set before anything heavy is imported, since vLLM and Ray read theirs at import.
"""

import argparse
import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubedistill.errors import EXIT_BAD_INPUT, EXIT_BAD_JOB, EXIT_SUCCESS, InvalidManifest, KubedistillError
from kubedistill.signals import reset_inherited_signals
from kubedistill_runtime.environment import set_environment

if TYPE_CHECKING:
    from kubedistill.contract import ContractModel, Prices, StageJob
    from kubedistill_runtime.channel import Channel
    from kubedistill_runtime.pipeline import LocalRun
    from kubedistill_runtime.storage.store import Store

_PR_SET_PDEATHSIG = 1
_EXIT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP means that the terminal was closed; `nohup` ignores it, and so do we."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage or a whole job; returns the exit code."""
    options = _parse(arguments)
    reset_inherited_signals()
    set_environment(os.environ)
    try:
        if options.job:
            return _run_one(options.job, sha256=options.job_sha256)
        if options.validate:
            return _validate(options)
        if options.estimate:
            return _estimate(options)
        return _preview(options) if options.preview else _run_all(options)
    except KubedistillError as error:
        from kubedistill.contract.events import FailedEvent

        _emit(FailedEvent.of(error))
        return error.exit_code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kubedistill_runtime", description="kubedistill's data plane.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--job", type=Path, help="run the stage of a job.json")
    mode.add_argument("--manifest", type=Path, help="run all stages of a DistillationJob on this machine")
    parser.add_argument("--job-sha256", metavar="HEX", help="refuse a job.json with another sha256")
    parser.add_argument("--data-root", type=Path, help="base of relative paths; by default the manifest's folder")
    parser.add_argument("--store", default=".kubedistill", help="folder for artifacts")
    parser.add_argument(
        "--configmap", action="append", default=[], type=_pair, metavar="NAME=DIR", help="folder of a ConfigMap"
    )
    parser.add_argument(
        "--prices", default="{}", type=_prices, metavar="JSON", help='USD per hour: {"teacher": 2.5, "student": 0.8}'
    )
    parser.add_argument("--rehash", action="store_true", help="read every data and model file again, once")
    parser.add_argument("--update", action="store_true", help="ask the hub for the branches and tags again, once")
    parser.add_argument("--validate", action="store_true", help="show all errors that a run would fail with")
    parser.add_argument("--preview", action="store_true", help="show what the student would be trained on")
    parser.add_argument("--estimate", action="store_true", help="show what a run would take")
    parser.add_argument("--machines", metavar="JSON", help="hardware, pools and prices, instead of this machine's")
    parser.add_argument("--bound-to-parent", action="store_true", help="exit when the parent process exits")
    return parser.parse_args(arguments)


def _pair(text: str) -> tuple[str, str]:
    name, _, folder = text.partition("=")
    if not (name and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR")
    return name, str(Path(folder).absolute())


def _prices(text: str) -> "Prices":
    from kubedistill.contract import Prices

    try:
        return Prices.model_validate_json(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object of prices of 0 or more") from error


def _run_one(path: Path, *, sha256: str | None) -> int:
    from kubedistill_runtime.channel import read_job
    from kubedistill_runtime.channel.signals import SignaledChannel
    from kubedistill_runtime.driver import run_stage
    from kubedistill_runtime.logs import log_to
    from kubedistill_runtime.serving.session import LocalEngines
    from kubedistill_runtime.storage.store import locate_store

    job, driver = read_job(path, sha256=sha256), uuid.uuid4().hex
    log_to(None, job=job)
    try:
        store = locate_store(job.store)  # if it can't be made, the stage's result reports it
    except InvalidManifest as invalid:  # the channel keeps its records in the store: only the exit code reports this
        sys.stderr.write(f"{invalid}\n")
        return EXIT_BAD_JOB
    with _open_channel(job, folder=path.parent, store=store, driver=driver) as opened:
        logging.getLogger("kubedistill_runtime").info("driver started", extra={"startupSeconds": round(_age(), 1)})
        engines = LocalEngines(leftovers=path.parent / "processes.json", ahead=False)
        channel = SignaledChannel(opened, second=_exit)
        channel.listen()
        try:
            result, error = run_stage(job, store=store, channel=channel, engines=engines, driver=driver)
        finally:
            engines.close()
    _emit(result)
    return error.exit_code if error else EXIT_SUCCESS


def _age() -> float:
    """Return the seconds since this process started."""
    import psutil

    return time.time() - psutil.Process().create_time()


@contextlib.contextmanager
def _open_channel(job: "StageJob", *, folder: Path, store: "Store", driver: str) -> Iterator["Channel"]:
    """Open the ConfigMap of the operator and a log in the store if in a cluster, otherwise the job's folder."""
    from kubedistill.contract import CHANNEL_VARIABLE

    name = os.environ.get(CHANNEL_VARIABLE)
    if not name:
        from kubedistill_runtime.channel import FileChannel

        yield FileChannel(folder)
        return
    from kubedistill_runtime.channel.api_server import find_api_server
    from kubedistill_runtime.channel.claiming import claim_channel
    from kubedistill_runtime.logs import save_log

    channel = claim_channel(job, api=find_api_server(), name=name, driver=driver, store=store)
    number = f"-{channel.starts}" if channel.starts > 1 else ""  # keep the log of an earlier driver
    with save_log(store, f"{channel.folder}/driver{number}.log", job=job):
        yield channel


def _run_all(options: argparse.Namespace) -> int:
    from kubedistill_runtime.pipeline import run_pipeline

    if options.bound_to_parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for number in _EXIT_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)
    return run_pipeline(_local_run(options), emit=_emit)


def _exit(number: int, _frame: object) -> None:
    """Exit by SystemExit, so that the session stops its processes; further signals are ignored."""
    for one in _EXIT_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def _preview(options: argparse.Namespace) -> int:
    from kubedistill_runtime.preview import preview

    run = _local_run(options)
    _emit(preview(run.stage_job("Prepare", attempt=1, keys={}), store=run.store))
    return EXIT_SUCCESS


def _estimate(options: argparse.Namespace) -> int:
    from kubedistill.contract.estimates import Machines
    from kubedistill_runtime.estimate.estimate import estimate

    run = _local_run(options)
    job = run.stage_job("Prepare", attempt=1, keys={})
    if options.machines:
        machines = Machines.model_validate_json(options.machines)
        job = job.model_copy(update=dict(machines))
    _emit(estimate(job, store=run.store))
    return EXIT_SUCCESS


def _validate(options: argparse.Namespace) -> int:
    from kubedistill_runtime.storage.store import locate_store
    from kubedistill_runtime.validation import validate

    run = _local_run(options, store=locate_store(options.store))
    found = validate(run.stage_job("Prepare", attempt=1, keys={}))
    _emit(found.to_event())
    return EXIT_BAD_INPUT if found.problems else EXIT_SUCCESS


def _local_run(options: argparse.Namespace, *, store: "Store | None" = None) -> "LocalRun":
    from kubedistill.manifest.loading import load_manifest
    from kubedistill_runtime.models import forget_digests
    from kubedistill_runtime.pipeline import LocalRun
    from kubedistill_runtime.revisions import forget_revisions
    from kubedistill_runtime.storage.store import open_store

    job, store = load_manifest(options.manifest), store or open_store(options.store)
    if options.rehash:
        forget_digests(store)
    if options.update:
        forget_revisions(store)
    return LocalRun(
        job=job,
        data_root=options.data_root or options.manifest.absolute().parent,
        store=store,
        config_maps=dict(options.configmap),
        prices=options.prices,
    )


def _emit(event: "ContractModel") -> None:
    sys.stdout.write(json.dumps(event.to_values()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is stopped and stored; Python would take 2 s to destroy the modules' objects
