"""A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager as plain processes, RBAC on.

`make control-plane ARGS=up|down|restart|status|build`. Its state is under build/control-plane, or where
KUBEDISTILL_CONTROL_PLANE says. There is no scheduler and no node: tests play pods, Jobs and RayJobs themselves. Only
`make e2e-node` adds a node (tests/support/node).
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.background import Background, StartFailed
from support.credentials import CONTROLLER_MANAGER, make_credentials, token_of, write_kubeconfig
from support.go_builds import NOTHING_TO_RUN
from support.kubernetes_binaries import NAMES, NoBinaries, cache_folder, find_binaries, find_binary, make_binaries

ROOT = Path(__file__).parents[2]
READY_SECONDS = 300
SERVICE_RANGE, SERVER_IN_CLUSTER = "10.96.0.0/24", "10.96.0.1"
CONTROLLERS = (
    "garbage-collector-controller", "namespace-controller", "serviceaccount-controller",
    "serviceaccount-token-controller", "root-ca-certificate-publisher-controller", "resourcequota-controller",
    "clusterrole-aggregation-controller", "persistentvolumeclaim-protection-controller",
)  # fmt: skip
"""All that a namespace and its roles need to work. Not Jobs: a test plays them."""
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["watch"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:kubedistill-system"]},
        {"level": "None"},
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane by the folder that holds its state; with `dies_with_us` no crash of a test leaves it behind."""

    folder: Path
    dies_with_us: bool = False
    audited: bool = False
    """Whether the API server writes down every request of the operator, but for watches."""
    address: str = "127.0.0.1"
    """Where the API server listens."""
    users: tuple[tuple[str, str], ...] = ()
    """Users besides the administrator and the controller manager, each with its group."""
    server_flags: tuple[str, ...] = ()
    controller_flags: tuple[str, ...] = ()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    @property
    def pids(self) -> dict[str, int | None]:
        """The pid of each process, None for one that does not run."""
        return {name: self._process(name).pid for name in NAMES}

    @property
    def audit_log(self) -> Path:
        """Lines of JSON, one for each request that was answered."""
        return self.folder / "audit.log"

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://{self.address}:{self._ports()['kube-apiserver']}"

    @property
    def etcd_url(self) -> str:
        """Where etcd listens, to whoever asks."""
        return f"http://127.0.0.1:{self._ports()['etcd']}"

    @property
    def ca(self) -> bytes:
        """The certificate of its authority, as PEM."""
        return (self.credentials / "ca.crt").read_bytes()

    @property
    def credentials(self) -> Path:
        """The folder of its keys, certificates and tokens."""
        return self.folder / "credentials"

    def kubeconfig_of(self, user: str) -> Path:
        """Write a kubeconfig of one of its users."""
        file = self.kubeconfig if user == "admin" else self.folder / f"{user.split(':')[-1]}.kubeconfig"
        token = token_of(user, folder=self.credentials)
        return write_kubeconfig(file, server=self.url, ca=self.ca, token=token)

    def up(self) -> None:
        """Start what does not run, on the state that is there, and wait until it works; raises StartFailed."""
        self.start_server()
        self.start_controllers()

    def make_credentials(self) -> None:
        """Make its keys, certificates and tokens, unless they are there."""
        make_credentials(self.credentials, users=self.users, addresses=(SERVER_IN_CLUSTER, self.address))

    def start_server(self) -> None:
        """Start etcd and the API server, and wait until it is ready."""
        self.make_credentials()
        if not any(self.pids.values()):
            self._choose_ports()
        self.kubeconfig_of("admin")
        self._start("etcd", self._etcd_flags())
        self._start("kube-apiserver", self._server_flags())
        self._wait("kube-apiserver", lambda: self.ask("/readyz") == http.client.OK)

    def start_controllers(self) -> None:
        """Start the controller manager, and wait until it does its work."""
        self._start("kube-controller-manager", self._controller_flags())
        # The first sign of it: a namespace's default account, without which no pod is admitted.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait("kube-controller-manager", lambda: self.ask(account) == http.client.OK)

    def restart_server(self, *, gently: bool = True) -> None:
        """Stop the API server alone and start it on the same port and state."""
        self._process("kube-apiserver").stop(gently=gently)
        self.start_server()

    def stop(self, *, gently: bool) -> None:
        """Stop all processes; the state stays."""
        for name in reversed(NAMES):
            self._process(name).stop(gently=gently)

    def down(self) -> None:
        """Stop all processes and remove the state."""
        self.stop(gently=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, path: str) -> int | None:
        """Return the HTTP status of a GET by the administrator; None where nobody answers."""
        context = ssl.create_default_context(cafile=str(self.credentials / "ca.crt"))
        token = token_of("admin", folder=self.credentials)
        port = self._ports()["kube-apiserver"]
        with contextlib.closing(http.client.HTTPSConnection(self.address, port, context=context, timeout=5)) as server:
            try:
                server.request("GET", path, headers={"Authorization": f"Bearer {token}"})
                return server.getresponse().status
            except (OSError, http.client.HTTPException):
                return None

    def _process(self, name: str) -> Background:
        return Background(self.folder / "processes", name)

    def _start(self, name: str, flags: Sequence[str]) -> None:
        if self.pids[name] is None:
            self._process(name).start([str(find_binaries()[name]), *flags], dies_with_us=self.dies_with_us)

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        process, until = self._process(name), time.monotonic() + READY_SECONDS
        while not is_ready():
            if process.pid is None:
                raise process.failure("ended")
            if time.monotonic() > until:
                raise process.failure(f"is not ready after {READY_SECONDS} s")
            time.sleep(0.1)

    def _ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.folder / "ports.json").read_text())
        return ports

    def _choose_ports(self) -> None:
        """Keep the ports of an earlier start, which kubeconfigs name, unless somebody else has taken one."""
        file = self.folder / "ports.json"
        if not file.is_file() or not all(_is_free(port) for port in self._ports().values()):
            file.write_text(json.dumps(dict(zip(("etcd", "etcd-peer", "kube-apiserver"), _free_ports(3), strict=True))))

    def _etcd_flags(self) -> list[str]:
        ports = self._ports()
        client, peer = (f"http://127.0.0.1:{ports[name]}" for name in ("etcd", "etcd-peer"))
        return [
            "--name=tests",
            f"--data-dir={self.folder / 'etcd'}",
            "--logger=zap",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=tests={peer}",
        ]

    def _server_flags(self) -> list[str]:
        ports, credentials = self._ports(), self.credentials
        return [
            f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={ports['kube-apiserver']}",
            "--endpoint-reconciler-type=none",  # an endpoint may not be loopback, and no pod looks for one
            "--authorization-mode=RBAC",
            # Some platforms refuse owner references that would block a deletion from whoever may not set finalizers.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            f"--token-auth-file={credentials / 'tokens.csv'}",
            f"--tls-cert-file={credentials / 'server.crt'}",
            f"--tls-private-key-file={credentials / 'server.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={credentials / 'accounts.pub'}",
            f"--service-account-signing-key-file={credentials / 'accounts.key'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            *(self._audit_flags() if self.audited else ()),
            *self.server_flags,
        ]

    def _audit_flags(self) -> list[str]:
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY))
        # In one file: after 100 MB it would begin another.
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=4096"]

    def _controller_flags(self) -> list[str]:
        credentials = self.credentials
        return [
            f"--kubeconfig={self.kubeconfig_of(CONTROLLER_MANAGER)}",
            "--secure-port=0",
            "--leader-elect=false",
            f"--controllers={','.join(CONTROLLERS)}",
            "--use-service-account-credentials=true",
            # By default it may ask 20 times a second: pods of hundreds of jobs would be there for minutes.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--root-ca-file={credentials / 'ca.crt'}",
            f"--service-account-private-key-file={credentials / 'accounts.key'}",
            *self.controller_flags,
        ]


def default_plane() -> ControlPlane:
    """Return the one that `make control-plane` starts."""
    named = os.environ.get("KUBEDISTILL_CONTROL_PLANE")
    return ControlPlane(Path(named).absolute() if named else ROOT / "build" / "control-plane")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code is 0 for success."""
    parser = argparse.ArgumentParser(prog="control-plane", description="A Kubernetes control plane for tests.")
    parser.add_argument("verb", choices=tuple(_VERBS), nargs="?", default="up")
    verb = _VERBS[parser.parse_args(arguments).verb]
    try:
        return verb(default_plane())
    except NoBinaries as error:
        sys.stderr.write(f"control-plane: {error}\n")
        return NOTHING_TO_RUN
    except (StartFailed, subprocess.CalledProcessError) as error:  # a command has said itself what it lacks
        sys.stderr.write(f"control-plane: {error}\n")
        return 1


def _build(_: ControlPlane) -> int:
    """Have all binaries, or say what is missing."""
    for path in make_binaries().values():
        sys.stdout.write(f"{path}\n")
    return 0


def _up(plane: ControlPlane) -> int:
    """Start it, and print the administrator's kubeconfig."""
    make_binaries()
    plane.up()
    sys.stdout.write(f"{plane.kubeconfig}\n")
    return 0


def _down(plane: ControlPlane) -> int:
    """Stop it and remove all that it knew."""
    plane.down()
    return 0


def _restart(plane: ControlPlane) -> int:
    """Stop it and start it on the same state."""
    plane.stop(gently=True)
    return _up(plane)


def _status(plane: ControlPlane) -> int:
    """Print what runs; the exit code is 1 unless all does."""
    for name, pid in plane.pids.items():
        sys.stdout.write(f"{name:24} {f'pid {pid}' if pid else 'not running':16} {find_binary(name) or 'no binary'}\n")
    ready = all(plane.pids.values()) and plane.ask("/readyz") == http.client.OK
    sys.stdout.write(f"{plane.kubeconfig}\n" if ready else f"not ready; binaries are kept in {cache_folder()}\n")
    return 0 if ready else 1


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


_VERBS = {"build": _build, "up": _up, "down": _down, "restart": _restart, "status": _status}

if __name__ == "__main__":
    sys.exit(main())
