"""The operator's command line.

0 stopped as requested · 1 failed · 2 bad input, or a cluster without our CRD or KubeRay's
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import prometheus_client
import typer

from kubedistill.cli.output import say
from kubedistill.errors import EXIT_FAILED, InvalidInput, KubedistillError
from kubedistill.manifest.settings import Settings
from kubedistill.manifest.settings_file import InvalidSettings, load_settings, read_settings
from kubedistill.signals import reset_inherited_signals
from kubedistill_operator.cluster.api_errors import OperatorFailure
from kubedistill_operator.decisions.stores import CLAIMED_STORE, find_unusable
from kubedistill_operator.explain import explain as explain_job
from kubedistill_operator.images import all_images
from kubedistill_operator.loop.replica import LEASE_NAME, Options, Replica
from kubedistill_operator.telemetry.logs import log_to

app = typer.Typer(
    name="kubedistill-operator",
    help="Turns DistillationJobs into chains of Ray clusters and Jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Config = Annotated[Path | None, typer.Option(help="The settings file; without one, all defaults.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="A kubeconfig; without one, $KUBECONFIG or the pod's account.")]


@app.command()
def run(
    *,
    config: Config = None,
    kubeconfig: Kubeconfig = None,
    lease_namespace: Annotated[str | None, typer.Option(help="Namespace of the Lease; without one, the pod's.")] = None,
    lease_name: Annotated[str, typer.Option(help="Name of the Lease; a release's replicas share it.")] = LEASE_NAME,
    alone: Annotated[bool, typer.Option(help="Lead without a Lease; only if no other replica runs.")] = False,
    log_level: Annotated[Literal["debug", "info", "warning"], typer.Option(help="Minimum level of the log.")] = "info",
) -> None:
    """Run one replica until SIGTERM."""
    settings = _settings(config)
    log_to(sys.stderr, level=logging.getLevelNamesMapping()[log_level.upper()])
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double every histogram
    options = Options(kubeconfig, lease_namespace, lease_name, alone)
    asyncio.run(_run(settings, options))


@app.command()
def check(*, config: Config = None) -> None:
    """Check a settings file as the operator does at its start, and whether jobs can use the stores that it names."""
    settings = Settings()
    if config is not None:
        settings, document = read_settings(config)
        for field, problem in find_unusable(settings.storage):
            fix = f"Name a folder of the claim, such as {CLAIMED_STORE}/models"
            raise InvalidSettings(problem, at=document.place(field), fix=fix)
    pools = ", ".join(sorted(settings.pools)) or "none"
    typer.echo(f"{config or 'the defaults'}: valid; pools: {pools}")


@app.command()
def explain(
    job: Annotated[str, typer.Argument(help="NAMESPACE/NAME of a DistillationJob.", show_default=False)],
    *,
    config: Config = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print what the operator would do about a job now, and why. Changes nothing."""
    namespace, _, name = job.partition("/")
    if not namespace or not name or "/" in name:
        raise InvalidInput(f"{job!r} is not NAMESPACE/NAME", fix="Write it as in team-a/support")
    found = asyncio.run(explain_job(namespace, name, settings=_settings(config), kubeconfig=kubeconfig))
    for line in found.lines():
        say(line)


@app.command()
def images(*, config: Config = None) -> None:
    """Print every image that the operator and its jobs pull, one per line, for a private registry."""
    for image in all_images(_settings(config).images):
        say(image)


def main() -> None:
    """Run the command line; a known error becomes one message and its exit code."""
    reset_inherited_signals()
    try:
        app()
    except KubedistillError as error:
        say(f"{error.reason}: {error}", err=True)
        sys.exit(error.exit_code)
    except OperatorFailure as error:
        say(str(error), err=True)
        sys.exit(EXIT_FAILED)


async def _run(settings: Settings, options: Options) -> None:
    await Replica(settings, options).run()


def _settings(config: Path | None) -> Settings:
    return load_settings(config) if config is not None else Settings()


if __name__ == "__main__":
    main()
