"""One real node on a control plane: containerd, kubelet, kube-proxy, a bridge for pods and the cluster's DNS.

Everything is under one folder: `store` holds containerd's images, which are kept from run to run, `logs` what to look
at, `state` the rest. `down` stops and removes all but the first two, also what a run that was killed left behind.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.background import Background
from support.cluster_setup import read_manifests
from support.control_plane import ControlPlane
from support.credentials import make_certificate
from support.kube_api import Api, wait_for
from support.node import configuration, images
from support.node.configuration import NODE, NODE_ADDRESS, NODE_LINK, POD_LINK

DNS_MANIFESTS = Path(__file__).parents[2] / "cluster" / "node" / "coredns.yaml"
_USERS = (
    (f"system:node:{NODE}", "system:nodes"), ("system:kube-scheduler", ""), ("system:kube-proxy", ""),
)  # fmt: skip
_READY_SECONDS = 180
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_RULES = (
    ("FORWARD", "-i", POD_LINK, "-j", "ACCEPT"),
    ("FORWARD", "-o", POD_LINK, "-j", "ACCEPT"),
)
_OURS = ("KUBE-", POD_LINK)
"""What each rule of kubelet, kube-proxy and this file names."""


@dataclass(frozen=True, slots=True)
class RealNode:
    """A cluster of one node by the folder that holds it; `binaries` are those of make_node_binaries."""

    folder: Path
    binaries: Mapping[str, Path]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def plane(self) -> ControlPlane:
        """The control plane, with all controllers and a way to the kubelet."""
        credentials = self.state / "plane" / "credentials"
        return ControlPlane(
            self.state / "plane",
            address=NODE_ADDRESS,
            users=_USERS,
            server_flags=(
                "--authorization-mode=Node",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--endpoint-reconciler-type=lease",
                "--kubelet-preferred-address-types=InternalIP",
                f"--kubelet-client-certificate={credentials / 'kubelet-client.crt'}",
                f"--kubelet-client-key={credentials / 'kubelet-client.key'}",
                f"--client-ca-file={credentials / 'ca.crt'}",
            ),
            controller_flags=("--controllers=*",),
        )

    def up(self) -> None:
        """Start the control plane and the node on empty state, and wait until pods find names."""
        self.down()
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        (self.state / "network").mkdir(parents=True)
        self._make_links()
        self._start_plane()
        self._start_containerd()
        self._start_node()
        with Api(self.plane.kubeconfig) as api:
            wait_for(
                lambda: _is_true(api.get("v1/Node", NODE), "Ready"), what="the node is ready", seconds=_READY_SECONDS
            )
            for manifest in read_manifests(DNS_MANIFESTS):
                api.apply(manifest)
            wait_for(
                lambda: _is_true(api.get("apps/v1/Deployment", "coredns", namespace="kube-system"), "Available"),
                what="the cluster's DNS is available",
                seconds=_READY_SECONDS,
            )

    def down(self) -> None:
        """Stop everything, and remove processes, mounts, links and rules; images and logs stay."""
        self._process("kubelet").stop(gently=True)
        if self._process("containerd").pid is not None:
            self._end_containers()
        for name in ("kube-proxy", "containerd", "kube-scheduler"):
            self._process(name).stop(gently=True)
        self._keep_logs()
        if self.plane.folder.exists():
            self.plane.stop(gently=True)
        self._end_leftovers()
        self._unmount()
        _remove_rules()
        self._remove_links()
        _remove_cgroups()
        shutil.rmtree(self.state, ignore_errors=True)

    def ctr(self, *arguments: str) -> str:
        """Return what containerd's own command prints; raises RuntimeError with what it complains of."""
        command = ["ctr", "--address", str(self.state / "containerd.sock"), "--namespace", "k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments)} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def load(self, built: list[images.Image]) -> None:
        """Import images for the kubelet."""
        images.import_images(built, ctr=self.ctr, folder=self.folder)

    def start(self, name: str, command: list[str]) -> int | None:
        """Start a further process that ends with the node, and return its pid; its log is with the others."""
        process = self._process(name)
        process.start(command)
        return process.pid

    def _process(self, name: str) -> Background:
        return Background(self.state / "processes", name)

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        process, until = self._process(name), time.monotonic() + _READY_SECONDS
        while not is_ready():
            if process.pid is None:
                raise process.failure("ended")
            if time.monotonic() > until:
                raise process.failure(f"is not ready after {_READY_SECONDS} s")
            time.sleep(0.2)

    def _make_links(self) -> None:
        (self.state / "ip_forward").write_text(_FORWARD.read_text())
        _FORWARD.write_text("1")
        Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")
        _run("ip", "link", "add", NODE_LINK, "type", "bridge")
        _run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", NODE_LINK)
        _run("ip", "link", "set", NODE_LINK, "up")
        for chain, *rule in _RULES:  # the machine's own policy may be to drop
            _run("iptables", "-A", chain, *rule)

    def _start_plane(self) -> None:
        plane = self.plane
        plane.make_credentials()
        subject = "/O=system:masters/CN=kube-apiserver"
        make_certificate(plane.credentials, "kubelet-client", subject, usage="clientAuth")
        plane.up()
        self.start(
            "kube-scheduler",
            [
                str(self.binaries["kube-scheduler"]),
                f"--kubeconfig={plane.kubeconfig_of('system:kube-scheduler')}",
                "--leader-elect=false",
                "--secure-port=0",
            ],
        )

    def _start_containerd(self) -> None:
        file = self.state / "containerd.toml"
        text = configuration.containerd_toml(
            store=self.folder / "store", state=self.state, network=self.state / "network"
        )
        file.write_text(text)
        (self.state / "network" / "10-pods.conflist").write_text(configuration.network(leases=self.state / "leases"))
        self.start("containerd", ["containerd", "--config", str(file)])
        self._wait("containerd", self._answers)
        pause = images.make_tiny_image(
            configuration.PAUSE_IMAGE, Path("/bin/busybox"), ["/busybox", "sleep", "infinity"]
        )
        dns = images.make_tiny_image(configuration.DNS_IMAGE, self.binaries["coredns"], ["/coredns"])
        self.load([pause, dns])

    def _answers(self) -> bool:
        with contextlib.suppress(RuntimeError):
            return bool(self.ctr("version"))
        return False

    def _start_node(self) -> None:
        (self.state / "resolv.conf").write_text("")
        kubelet, proxy = self.state / "kubelet.yaml", self.state / "kube-proxy.yaml"
        ca = self.plane.credentials / "ca.crt"
        kubelet.write_text(configuration.kubelet(state=self.state, logs=self.logs / "pods", ca=ca))
        proxy.write_text(configuration.kube_proxy(kubeconfig=self.plane.kubeconfig_of("system:kube-proxy")))
        self.start(
            "kubelet",
            [
                str(self.binaries["kubelet"]),
                f"--config={kubelet}",
                f"--kubeconfig={self.plane.kubeconfig_of(f'system:node:{NODE}')}",
                f"--hostname-override={NODE}",
                f"--node-ip={NODE_ADDRESS}",
                f"--root-dir={self.state / 'kubelet'}",
                f"--cert-dir={self.state / 'kubelet-certificates'}",
            ],
        )
        self.start("kube-proxy", [str(self.binaries["kube-proxy"]), f"--config={proxy}"])

    def _end_containers(self) -> None:
        for verb in (
            ("tasks", "kill", "--signal", "SIGKILL"),
            ("tasks", "delete", "--force"),
            ("containers", "delete"),
        ):
            for container in self.ctr("containers", "list", "-q").split():
                with contextlib.suppress(RuntimeError):  # it has no task, or that has ended
                    self.ctr(*verb, container)

    def _keep_logs(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        for log in (*self.state.glob("processes/*.log"), *self.plane.folder.glob("processes/*.log")):
            shutil.copy(log, self.logs)

    def _end_leftovers(self) -> None:
        """End what names the state's folder in its command: shims of a containerd that was killed, and their pods."""
        found, spared = [], {os.getpid(), *(one.pid for one in psutil.Process().parents())}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.pid not in spared and any(str(self.state) in word for word in process.cmdline()):
                    found += [process, *process.children(recursive=True)]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=10)

    def _unmount(self) -> None:
        points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in sorted((one for one in points if one.startswith(f"{self.state}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)

    def _remove_links(self) -> None:
        for link in (POD_LINK, NODE_LINK):
            _try("ip", "link", "delete", link)
        if (saved := self.state / "ip_forward").is_file():
            _FORWARD.write_text(saved.read_text())


def _remove_rules() -> None:
    for program in ("iptables", "ip6tables"):
        if shutil.which(program):
            saved = subprocess.run([f"{program}-save"], capture_output=True, text=True, check=True).stdout
            kept = [line for line in saved.splitlines() if not any(word in line for word in _OURS)]
            if len(kept) < len(saved.splitlines()):
                subprocess.run([f"{program}-restore"], input="\n".join([*kept, ""]), text=True, check=True)


def _remove_cgroups() -> None:
    for root in (*Path("/sys/fs/cgroup").glob("*/kubepods"), Path("/sys/fs/cgroup/kubepods")):
        for folder, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):  # something of somebody else is in it
                Path(folder).rmdir()


def _is_true(found: dict[str, object] | None, condition: str) -> bool:
    conditions = json.loads(json.dumps(found or {})).get("status", {}).get("conditions") or []
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _try(*command: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(command, capture_output=True, check=False)
