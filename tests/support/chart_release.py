"""A release of the chart on a real API server without nodes: tests start what its Deployment asks for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster_setup import account_kubeconfig
from helm import CHART, Helm, Values
from kube_api import Api, Manifest
from operator_process import Replica, free_port


@dataclass(frozen=True, slots=True)
class Release:
    """One release and the port that its operator listens at on this machine."""

    helm: Helm
    api: Api
    name: str
    namespace: str
    port: int = field(default_factory=free_port)
    chart: Path = CHART

    @property
    def operator(self) -> str:
        """The name of its Deployment, ServiceAccount, ConfigMap, Service and Lease."""
        return f"{self.name}-operator" if "kubedistill" in self.name else f"{self.name}-kubedistill-operator"

    def install(self, settings: Values, *options: str, **values: Any) -> str:
        """`helm install` without waiting, since no node will ever run the pods; gives what helm prints."""
        return self._put("install", settings, options, values)

    def upgrade(self, settings: Values, *options: str, **values: Any) -> str:
        """`helm upgrade` with all values anew."""
        return self._put("upgrade", settings, options, values)

    def uninstall(self) -> str:
        """`helm uninstall`."""
        return self.helm.run("uninstall", self.name, "--namespace", self.namespace, "--ignore-not-found")

    def deployment(self) -> Manifest:
        """Its Deployment as the server has it."""
        found = self.api.get("apps/v1/Deployment", self.operator, namespace=self.namespace)
        assert found, f"{self.operator} is installed"
        return found

    def kubeconfig(self, folder: Path) -> Path:
        """What the pods of its Deployment may do, as a kubeconfig."""
        account = self.deployment()["spec"]["template"]["spec"]["serviceAccountName"]
        return account_kubeconfig(self.api, account, namespace=self.namespace, file=folder / f"{account}.kubeconfig")

    @contextmanager
    def replica(self, folder: Path, *, name: str = "replica") -> Iterator[Replica]:
        """A process as the Deployment describes one; it is asked to leave in the end, as a pod is."""
        place = folder / name
        place.mkdir()
        spec = self.deployment()["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        command = [str(Path(sys.executable).parent / container["command"][0])]
        command += [self._moved(argument, spec, place) for argument in container["args"]]
        environment = {one["name"]: _value(one, namespace=self.namespace) for one in container["env"]}
        log = place / "operator.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=stream,
                env=os.environ | environment | {"KUBECONFIG": str(self.kubeconfig(place))},
            )  # fmt: skip
        try:
            yield Replica(process, self.port, log)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()

    def _put(self, verb: str, settings: Values, options: tuple[str, ...], values: dict[str, Any]) -> str:
        given = {"settings": {"port": self.port, **settings}, "crds": {"install": False}, **values}
        return self.helm.run(verb, self.name, str(self.chart), "--namespace", self.namespace, *options, values=given)

    def _moved(self, argument: str, spec: Manifest, place: Path) -> str:
        """An argument with the places of ConfigMaps moved to this machine, where they are written."""
        (container,) = spec["containers"]
        maps = {one["name"]: one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one}
        for mount in container["volumeMounts"]:
            if mount["name"] in maps and mount["mountPath"] in argument:
                data = self.api.get("v1/ConfigMap", maps[mount["name"]], namespace=self.namespace)
                assert data, f"ConfigMap {maps[mount['name']]} is installed"
                for file, text in data["data"].items():
                    (place / file).write_text(text)
                argument = argument.replace(mount["mountPath"], str(place))
        return argument


def _value(variable: Manifest, *, namespace: str) -> str:
    """The value of a variable; the only field that is asked for is the pod's namespace."""
    if "valueFrom" in variable:
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
        return namespace
    return str(variable["value"])
