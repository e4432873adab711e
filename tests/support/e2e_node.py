"""`make e2e-node`: the product as users install it, on a real node: its images, its chart, real pods and real Ray.

It needs root and a Debian machine with 25 GB free; the first run builds for half an hour. It writes
build/e2e-node/report.md, and build/e2e-node/logs.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kubedistill.signals import reset_inherited_signals
from support.background import StartFailed
from support.cluster_setup import install_ray_crds
from support.go_builds import NoBinaries
from support.helm import CHART, Helm, HelmFailed, make_helm
from support.kube_api import Api
from support.node.binaries import make_node_binaries
from support.node.context import QUICKSTART, NodeContext, Outcome, ScenarioFailed, make_claim
from support.node.images import Image, make_images
from support.node.kuberay import PROGRAM, running_kuberay
from support.node.real_node import RealNode
from support.node.recorder import recording
from support.node.report import MOST_OURS, write_report
from support.node.requirements import NotPossible, check_machine, check_network, install_packages
from support.node.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "e2e-node"
OPERATOR_NAMESPACE, NAMESPACE = "kubedistill-system", "distillation"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; the exit code is 0 where all of them held, 3 where the machine can't run them."""
    options = _parse(arguments)
    reset_inherited_signals()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.down:
        RealNode(FOLDER, {}).down()
        return 0
    try:
        check_machine(FOLDER)
        install_packages()
        check_network()
        binaries, helm = make_node_binaries(), make_helm()
        images = make_images(_version(), force=options.rebuild)
    except (NotPossible, NoBinaries) as error:
        _say(f"e2e-node: NOTHING WAS RUN: {error}")
        return 3
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    outcomes: list[Outcome] = []
    failure = ""
    try:
        with _node(binaries) as node:
            _run(node, helm, images, outcomes=outcomes, names=options.scenario or tuple(SCENARIOS))
    except (ScenarioFailed, StartFailed, HelmFailed, AssertionError, RuntimeError) as error:
        failure = str(error) or repr(error)
    except KeyboardInterrupt:
        failure = "interrupted"
    return _report(outcomes, images, failure=failure)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="e2e-node", description=__doc__)
    parser.add_argument("--rebuild", action="store_true", help="build the images even where they are of this tree")
    parser.add_argument("--scenario", action="append", choices=tuple(SCENARIOS), help="only these; all by default")
    parser.add_argument("--down", action="store_true", help="only remove what a run that was killed left behind")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _node(binaries: dict[str, Path]) -> Iterator[RealNode]:
    """Yield a node that is removed in the end, whatever happens; a second Ctrl-C does not disturb that."""
    node = RealNode(FOLDER, binaries)
    try:
        _say("starting the node")
        node.up()
        yield node
    finally:
        handlers = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
        _say("removing the node")
        node.down()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _run(node: RealNode, helm: Path, images: list[Image], *, outcomes: list[Outcome], names: Sequence[str]) -> None:
    _say("importing the images")
    node.load(images)
    kubeconfig = node.plane.kubeconfig
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(Api(kubeconfig))
        install_ray_crds(api)
        away = stack.enter_context(running_kuberay(node))
        _install(Helm(node.state / "helm", kubeconfig, helm))
        _make_namespace(api)
        storage = FOLDER / "storage"
        make_claim(api, _kubectl(kubeconfig), namespace=NAMESPACE, storage=storage)
        record = stack.enter_context(recording(kubeconfig, namespace=NAMESPACE))
        stack.callback(lambda: record.write(node.logs / "history.jsonl"))
        context = NodeContext(node, api, record, away, NAMESPACE, storage)
        for name in names:
            _say(f"scenario {name}")
            outcomes.append(SCENARIOS[name](context))
            _say(f"{outcomes[-1].name}: {outcomes[-1].seen} ({outcomes[-1].seconds:.0f} s)")


def _install(helm: Helm) -> None:
    _say("installing the chart")
    helm.home.mkdir()
    values = QUICKSTART / "cluster" / "values.yaml"
    helm.run(
        "install",
        "kubedistill",
        str(CHART),
        "--namespace",
        OPERATOR_NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "10m",
        "--values",
        str(values),
    )
    helm.run("test", "kubedistill", "--namespace", OPERATOR_NAMESPACE, "--timeout", "5m")


def _make_namespace(api: Api) -> None:
    """A namespace for jobs that refuses pods with privileges."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})


def _kubectl(kubeconfig: Path) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        command = ["kubectl", f"--kubeconfig={kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")

    return run


def _report(outcomes: list[Outcome], images: list[Image], *, failure: str) -> int:
    kuberay = os.environ.get(PROGRAM) or "played by tests/support/fake_kuberay, with real pods and real Ray"
    over = [wall for one in outcomes for wall in one.walls if wall.ours > MOST_OURS]
    if over and not failure:
        shares = ", ".join(f"{wall.ours:.0%} of {wall.job}" for wall in over)
        failure = f"too much of the wall is ours: {shares}; at most {MOST_OURS:.0%} may be"
    _say("\n" + write_report(FOLDER / "report.md", outcomes, images=images, kuberay=kuberay, failure=failure))
    return 1 if failure else 0


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
