"""Real processes for pods: a driver is a process of this machine, in the environment and with the mounts of its pod."""

import asyncio
import contextlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from support.fake_kuberay.actions import World, end_driver, request_token
from support.fake_kuberay.api import Object, Refused
from support.fake_kuberay.child import Child, role_of
from support.fake_kuberay.mounts import Mounts

_MARK = "KUBEDISTILL_POD"
_RAY_SECONDS, _RAY_TRIES, _START_FAILED = 300, 5, 128
_RAY_SETTINGS = {
    "RAY_worker_niceness": "0",  # it steps back behind whatever else a machine does, which in a pod is nothing
    "RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0",  # a process a core that nobody needs
}  # fmt: skip
_ADDRESS = "127.0.0.2"  # Ray takes 127.0.0.1 for a mistake, and another address of the machine instead
_BIN = str(Path(sys.executable).parent)


@dataclass(slots=True)
class Machine:
    """Runs the drivers of pods; everything of a pod is under `folder` and carries its uid in the environment."""

    world: World
    folder: Path
    claims: Mapping[str, Path] = field(default_factory=dict)
    _processes: dict[str, Process] = field(default_factory=dict)
    """The driver of each pod, by the pod's uid."""
    _watchers: set[asyncio.Task[None]] = field(default_factory=set)
    _ray_folders: dict[str, str] = field(default_factory=dict)
    _killed: set[str] = field(default_factory=set)

    async def start(self, child: Child) -> None:
        """Start the driver of a child in its pod, on a Ray cluster of its own where the child is a RayJob."""
        pod = child.driver_pod
        assert pod is not None, "a driver is started in a pod"
        uid = pod["metadata"]["uid"]
        self._killed.discard(uid)
        try:
            process = await self._start(child, pod)
        except (OSError, RuntimeError, Refused) as error:
            if uid not in self._killed:
                self.world.journal.note(child, "StartFailed", why=str(error))
                await end_driver(self.world, child, code=_START_FAILED, now=time.time())
            return
        if uid in self._killed:  # the pod went while its driver came up
            await self.kill(pod)
            return
        self._processes[uid] = process
        if child.info is not None:
            child.info.status = "RUNNING"
        self.world.journal.note(child, "DriverStarted", pid=process.pid)
        watcher = asyncio.get_running_loop().create_task(self._watch(child, uid, process))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _start(self, child: Child, pod: Object) -> Process:
        folder = (self.folder / child.key[0] / pod["metadata"]["name"]).absolute()
        (folder / "work").mkdir(parents=True, exist_ok=True)
        token = await request_token(self.world.api, pod) if _mounts_token(pod) else ""
        mounts = Mounts(self.world.api, pod, folder, self.claims, token)
        await mounts.make()
        environment = await mounts.environment() | {
            "PATH": f"{_BIN}:{os.environ.get('PATH', '')}",
            "VLLM_CACHE_ROOT": str(self.folder.absolute() / "cache"),  # what is found out of a kind of model, once
        }
        if child.kind == "RayJob":
            ray = await self._keep_starting_ray(child, folder, environment, uid=pod["metadata"]["uid"])
            environment |= ray
            command = shlex.split(child.spec["entrypoint"])
        else:
            container = pod["spec"]["containers"][0]
            command = [*container.get("command", ()), *container.get("args", ())]
        return await _spawn([mounts.translate(word) for word in command], environment, folder=folder, log="driver.log")

    async def look(self, child: Child) -> None:
        """Do nothing: the watcher of the driver's process reports its end."""

    async def withdraw(self, child: Child) -> None:
        """Nothing: the driver ends with its pod."""

    async def kill(self, pod: Object) -> None:
        """SIGKILL for all that runs in a pod."""
        uid = pod["metadata"]["uid"]
        self._killed.add(uid)
        self._processes.pop(uid, None)
        await asyncio.to_thread(_end_all, uid)
        if folder := self._ray_folders.pop(uid, None):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def end(self, pod: Object) -> None:
        """What a kubelet does with a pod that was deleted: SIGTERM, its grace period, SIGKILL."""
        if (process := self._processes.get(pod["metadata"]["uid"])) and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
        await self.kill(pod)

    async def stop(self) -> None:
        """End everything."""
        for uid in [*self._processes, *self._ray_folders]:
            await self.kill({"metadata": {"uid": uid}})
        await asyncio.gather(*self._watchers)

    async def _watch(self, child: Child, uid: str, process: Process) -> None:
        code = await process.wait()
        if self._processes.get(uid) is process:  # else it was killed with its pod, and has nothing to tell
            await end_driver(self.world, child, code=code, now=time.time())

    async def _keep_starting_ray(
        self, child: Child, folder: Path, environment: Mapping[str, str], *, uid: str
    ) -> dict[str, str]:
        """Ray gives its node 30 s to come up; a kubelet starts again what did not, and here the machine may be busy."""
        for _ in range(_RAY_TRIES - 1):
            try:
                return await self._start_ray(child.spec["rayClusterSpec"], folder, environment, uid=uid)
            except RuntimeError as error:
                if uid in self._killed:
                    raise
                self.world.journal.note(child, "RayFailed", why=str(error))
                await asyncio.to_thread(_end_all, uid)
                await asyncio.to_thread(shutil.rmtree, self._ray_folders.pop(uid), ignore_errors=True)
        return await self._start_ray(child.spec["rayClusterSpec"], folder, environment, uid=uid)

    async def _start_ray(
        self, cluster: Mapping[str, Any], folder: Path, environment: Mapping[str, str], *, uid: str
    ) -> dict[str, str]:
        """Return a head and one node for each worker, with the cores and GPUs that their rayStartParams name."""
        port = _free_port()
        self._ray_folders[uid] = tempfile.mkdtemp(prefix="kd-ray-")  # short: Ray puts sockets below it
        access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        environment = {**environment, **access, **_RAY_SETTINGS}
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._ray_folders[uid]}"]
        await _ray(folder, environment, *head, *_flags(cluster["headGroupSpec"]))
        for group in cluster.get("workerGroupSpecs", ()):
            for _ in range(group.get("replicas", 0)):
                await _ray(folder, environment, f"--address={_ADDRESS}:{port}", *_flags(group))
        return {**access, "RAY_ADDRESS": f"{_ADDRESS}:{port}"}


def _flags(group: Mapping[str, Any]) -> list[str]:
    """rayStartParams as `ray start` takes them; memory is this machine's, not the pod's."""
    parameters = group.get("rayStartParams", {})
    return [f"--{name}={parameters[name]}" for name in ("num-cpus", "num-gpus") if name in parameters] + [
        f"--object-store-memory={100 * 2**20}"
    ]


async def _ray(folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    command = ["ray", "start", f"--node-ip-address={_ADDRESS}", "--disable-usage-stats", *arguments]
    process = await _spawn(command, environment, folder=folder, log="ray.log")
    code = await asyncio.wait_for(process.wait(), _RAY_SECONDS)
    if code:
        raise RuntimeError(f"ray start ended with {code}:\n{(folder / 'ray.log').read_text()[-2000:]}")


async def _spawn(command: Sequence[str], environment: Mapping[str, str], *, folder: Path, log: str) -> Process:
    with (folder / log).open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            cwd=folder / "work",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _end_all(uid: str) -> None:
    """Kill the processes that carry a pod's uid, and wait until they are gone."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ended, or is none of ours
            if process.environ().get(_MARK) == uid:
                process.kill()
                found.append(process)
    psutil.wait_procs(found, timeout=10)


def _mounts_token(pod: Object) -> bool:
    volumes = pod["spec"].get("volumes", ())
    sources = [source for volume in volumes for source in (volume.get("projected") or {}).get("sources", ())]
    return role_of(pod) != "worker" and any("serviceAccountToken" in source for source in sources)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
