"""A player in a thread of its own, for tests that are not asynchronous."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import get_args

from kubedistill.chain import ArtifactName
from support.fake_kuberay.actions import World
from support.fake_kuberay.api import Api
from support.fake_kuberay.controller import Player
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.kubelet import Kubelet
from support.fake_kuberay.on_node import node_player
from support.fake_kuberay.real import Machine
from support.fake_kuberay.scenarios import Scenario, choose

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def playing(
    kubeconfig: Path,
    *,
    namespace: str = "",
    scale: float = 0.01,
    choose: Callable[[str], Scenario] = choose,
    as_account: bool = True,
    folder: Path | None = None,
    claims: Mapping[str, Path] | None = None,
    on_node: bool = False,
    log: Path | None = None,
    away: threading.Event | None = None,
    makes: Collection[str] = get_args(ArtifactName),
) -> Iterator[Journal]:
    """Play until the context ends, and give the journal; raises what the player raised.

    With a folder for pods, drivers are real; `claims` are the folders of volume claims. `on_node` leaves pods and Jobs
    to a cluster that runs them itself. `log` is a file for the journal. KubeRay does not run while `away` is set.
    `makes` are the artifacts that the images of played drivers know.
    """
    journal, ready, failures = Journal(log), threading.Event(), []
    stop: list[Callable[[], object]] = []

    async def play() -> None:
        api = Api.from_kubeconfig(kubeconfig)
        if on_node:
            player = node_player(api, journal)
        else:
            world = World(api, Kubelet(api), journal, scale, as_account)
            world.makes = makes
            world.executor = Machine(world, folder, claims or {}) if folder else None
            player = Player(world, namespace, choose)
        player.away = away or player.away
        task = asyncio.get_running_loop().create_task(player.run())
        stop.append(lambda: task.get_loop().call_soon_threadsafe(task.cancel))
        ready.set()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            await api.close()

    def run() -> None:
        try:
            asyncio.run(play())
        except Exception as error:  # raised when the context ends; until then a test can only wonder
            logger.exception("the player failed")
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="player", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield journal
    finally:
        for end in stop:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                end()
        thread.join(30)
        for failure in failures:
            raise failure
