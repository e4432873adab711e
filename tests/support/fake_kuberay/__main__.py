"""`python -m support.fake_kuberay --kubeconfig FILE [--mode script|real] [--scenario NAME] [--time-scale 0.01]`."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kubedistill.signals import reset_inherited_signals
from support.fake_kuberay.actions import World
from support.fake_kuberay.api import Api
from support.fake_kuberay.controller import Player
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.kubelet import Kubelet
from support.fake_kuberay.real import Machine
from support.fake_kuberay.scenarios import SCENARIOS, choose


def main(arguments: Sequence[str] | None = None) -> None:
    """Play until SIGINT or SIGTERM."""
    reset_inherited_signals()
    parser = argparse.ArgumentParser(
        prog="fake_kuberay", description="Play KubeRay, Jobs, nodes and drivers in a test."
    )
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="", help="the one whose children are played; all by default")
    parser.add_argument("--mode", choices=("script", "real"), default="script")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="ok", help="of jobs whose name says nothing")
    parser.add_argument("--time-scale", type=float, default=1.0, help="real seconds for each second of the player")
    parser.add_argument("--journal", type=Path, help="file for lines of JSON about all that happens")
    parser.add_argument("--folder", type=Path, default=Path("build/player"), help="where pods run in real mode")
    parser.add_argument("--claim", action="append", default=[], metavar="NAME=DIR", help="folder of a volume claim")
    asyncio.run(_play(parser.parse_args(arguments)))


async def _play(options: argparse.Namespace) -> None:
    api = Api.from_kubeconfig(options.kubeconfig)
    world = World(api, Kubelet(api), Journal(options.journal), options.time_scale)
    player = Player(world, options.namespace, partial(choose, default=options.scenario))
    if options.mode == "real":
        claims = dict(claim.split("=", 1) for claim in options.claim)
        world.executor = Machine(world, options.folder, {name: Path(folder) for name, folder in claims.items()})
    task = asyncio.get_running_loop().create_task(player.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await api.close()


if __name__ == "__main__":
    main()
