"""`make demo-cluster`: from `helm install` to the report of the quickstart, on a real API server without nodes.

Control plane, operator and player are processes of this machine: the operator is what the installed Deployment asks
for, with its account and its settings, and the player runs real drivers. All of it is under
build/demo-cluster, and nothing runs any more when this ends, however it ends.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from kubedistill.report.models import Report
from kubedistill.report.table import headline, table_lines
from kubedistill.signals import reset_inherited_signals
from support.background import StartFailed
from support.chart_release import Release
from support.cluster_setup import OPERATOR_NAMESPACE, ROOT, install_ray_crds
from support.control_plane import ControlPlane
from support.fake_kuberay.background import playing
from support.go_builds import NOTHING_TO_RUN, NoBinaries
from support.helm import Helm, make_helm
from support.kube_api import Api, wait_for
from support.kubectl import CLAIM, Kubectl, fill_claim, has_kubectl
from support.kubernetes_binaries import make_binaries

FOLDER = ROOT / "build" / "demo-cluster"
NAMESPACE, NAME = "default", "quickstart"
PORT = 8080
"""Where the operator of the default settings listens."""
SCALE = 0.1
"""KubeRay's pauses are ten times as short as in a cluster."""
INSTALL = (
    f"helm install kubedistill charts/kubedistill --namespace {OPERATOR_NAMESPACE} --create-namespace"
    " --values examples/quickstart/cluster/values.yaml"
)
COMMANDS = (
    INSTALL,
    "kubectl apply -f examples/quickstart/cluster/claim.yaml",
    "kubectl apply -f examples/quickstart/job.yaml",
    "kubedistill watch quickstart",
    "kubectl wait --for=condition=Complete dj/quickstart --timeout=30m",
    "kubectl get dj",
    "kubectl get dj -o wide",
    "kubectl describe dj quickstart",
    "kubectl events --for dj/quickstart",
)
"""What is run and shown, in this order; docs/cluster.md has what they print."""


def main() -> int:
    """Run the demo; the exit code is 0 where the job has succeeded and nothing is left over."""
    reset_inherited_signals()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(ROOT)  # the commands name files of the repository
    if not has_kubectl():
        sys.stderr.write("demo-cluster: it shows what kubectl shows, and there is no kubectl on the PATH\n")
        return 1
    if _is_taken(PORT):
        sys.stderr.write(f"demo-cluster: the operator would listen at port {PORT}, and somebody else does\n")
        return 1
    if _tell(_still_running(), "runs already, or was left over by a demo that was killed"):
        return 1
    try:
        make_binaries()
        helm = make_helm()
        with _cluster() as kubectl, contextlib.ExitStack() as operator:
            _say(f"\n$ {INSTALL}")
            operator.enter_context(_install(helm, kubectl))
            code = _show(kubectl)
    except NoBinaries as error:
        sys.stderr.write(f"demo-cluster: {error}\n")
        return NOTHING_TO_RUN
    except StartFailed as error:
        sys.stderr.write(f"demo-cluster: {error}\n")
        code = 1
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    return 1 if _tell(_still_running(), "was left over") else code


@contextlib.contextmanager
def _cluster() -> Iterator[Kubectl]:
    """Yield a control plane with the player; both are gone afterwards."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    plane = ControlPlane(FOLDER / "control-plane", dies_with_us=True)
    _say("Starting a control plane and the player; their logs lie under build/demo-cluster.")
    with contextlib.ExitStack() as stack:
        stack.callback(plane.down)
        plane.start_server()
        with Api(plane.kubeconfig) as api:
            install_ray_crds(api)
        plane.start_controllers()
        claims = {CLAIM: fill_claim(FOLDER / "claim")}
        stack.enter_context(playing(plane.kubeconfig, scale=SCALE, folder=FOLDER / "pods", claims=claims))
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave things behind
        yield Kubectl(plane.kubeconfig, NAMESPACE, FOLDER / "kubectl")


@contextlib.contextmanager
def _install(binary: Path, kubectl: Kubectl) -> Iterator[None]:
    """Install the chart as a person would, and run what its Deployment asks for, since no node does."""
    helm = Helm(FOLDER / "helm", kubectl.kubeconfig, binary)
    helm.home.mkdir()
    _say(helm.run(*INSTALL.split()[1:]).rstrip())
    with Api(kubectl.kubeconfig) as api:
        release = Release(helm, api, "kubedistill", OPERATOR_NAMESPACE, port=PORT)
        with release.replica(FOLDER, name="operator") as replica:
            wait_for(replica.leads, what="the operator leads", seconds=120)
            yield


def _show(kubectl: Kubectl) -> int:
    """Run the commands as a person would; the exit code is that of the first one that failed."""
    began, code = time.monotonic(), 0
    for command in COMMANDS[1:]:
        if code and " wait " in command:
            continue
        _say(f"\n$ {command}")
        code = _run(command.split(), kubectl) or code
    if not code:
        _show_report(FOLDER / "claim" / "runs" / f"{NAMESPACE}.{NAME}" / "1")
    _say(f"\n{'Succeeded' if not code else f'Failed with {code}'} after {time.monotonic() - began:.0f} s.")
    return code


def _run(command: Sequence[str], kubectl: Kubectl) -> int:
    if command[0] == "kubectl":
        return kubectl.run(*command[1:])
    program = str(Path(sys.executable).with_name(command[0]))
    options = [f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={kubectl.namespace}"]
    return subprocess.run([program, *command[1:], *options], check=False, cwd=ROOT).returncode


def _show_report(folder: Path) -> None:
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    rows = [("", "teacher", "before", "distilled", "against teacher")]
    rows += [(one.name, one.teacher, one.baseline, one.distilled, one.change) for one in table_lines(report)]
    _say("")
    for name, *cells, change in rows:
        _say(f"{name:<23}" + "".join(f"{cell:>11}" for cell in cells) + f"{change:>17}")
    text = headline(report)
    _say(f"\n{text[:1].upper()}{text[1:]}.\nReport: {folder / 'report.html'}")


def _tell(processes: Sequence[str], what: str) -> bool:
    """Say of each process what it is; whether there is one."""
    for process in processes:
        sys.stderr.write(f"demo-cluster: process {process} {what}\n")
    return bool(processes)


def _still_running() -> list[str]:
    """Return processes of the demo: they name its folder, or live in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while we looked, or is not ours
            words = [*process.cmdline(), process.environ().get("HOME", "")]
            if process.pid != psutil.Process().pid and any(str(FOLDER) in word for word in words):
                found.append(f"{process.pid} ({' '.join(process.cmdline())[:100]})")
    return found


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
