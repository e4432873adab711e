"""A release of the chart on a real API server without nodes: tests start what its Deployment asks for."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.cluster_setup import account_kubeconfig, account_token
from support.helm import CHART, Helm, Values
from support.image_root import ImageRoot
from support.kube_api import Api, Manifest
from support.operator_process import Replica, free_port

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


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
        """Run `helm upgrade` with all values given again."""
        return self._put("upgrade", settings, options, values)

    def uninstall(self) -> str:
        """`helm uninstall`."""
        return self.helm.run("uninstall", self.name, "--namespace", self.namespace, "--ignore-not-found")

    def deployment(self) -> Manifest:
        """Return its Deployment as the server has it."""
        found = self.api.get("apps/v1/Deployment", self.operator, namespace=self.namespace)
        assert found, f"{self.operator} is installed"
        return found

    def pod(self) -> Manifest:
        """Return the spec of the pods that its Deployment makes."""
        spec: Manifest = self.deployment()["spec"]["template"]["spec"]
        return spec

    def kubeconfig(self, folder: Path) -> Path:
        """Return what the pods of its Deployment may do, as a kubeconfig."""
        account = self.pod()["serviceAccountName"]
        return account_kubeconfig(self.api, account, namespace=self.namespace, file=folder / f"{account}.kubeconfig")

    @contextmanager
    def replica(self, folder: Path, *, name: str = "replica") -> Iterator[Replica]:
        """Yield a process as the Deployment describes one, in our own environment."""
        place = folder / name
        place.mkdir()
        (container,) = self.pod()["containers"]
        command = [str(Path(sys.executable).parent / container["command"][0]), *container["args"]]
        for path, source in self._volumes(place).items():
            command = [argument.replace(path, str(source)) if source else argument for argument in command]
        environment = os.environ | self._variables() | {"KUBECONFIG": str(self.kubeconfig(place))}
        with (place / "operator.log").open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        with self._attended(process, log=place / "operator.log") as replica:
            yield replica

    @contextmanager
    def pod_process(
        self, image: ImageRoot, folder: Path, *, user: str, name: str = "pod", uid: str = ""
    ) -> Iterator[Replica]:
        """Yield a process as the Deployment describes one, in the image and as a user, with what a kubelet mounts."""
        place = folder / name
        place.mkdir()
        (container,) = self.pod()["containers"]
        server = urlsplit(self.api.server)
        reached_by = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
        with (place / "operator.log").open("wb") as stream:
            process = image.start(
                [*container["command"], *container["args"]],
                user=user,
                host=name,
                stdout=stream,
                stderr=stream,
                environment=self._variables(uid) | reached_by,
                mounts=self._volumes(place) | {ACCOUNT_FOLDER: self._account(place / "account")},
            )
        with self._attended(process, log=place / "operator.log") as replica:
            yield replica

    @contextmanager
    def _attended(self, process: "subprocess.Popen[bytes]", *, log: Path) -> Iterator[Replica]:
        """It is asked to leave in the end, as a pod is."""
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

    def _variables(self, uid: str = "") -> dict[str, str]:
        """Return what the variables of the container are in a pod of its own, or in that of a uid."""
        (container,) = self.pod()["containers"]
        fields = {"metadata.namespace": self.namespace, "metadata.uid": uid or str(uuid.uuid4())}
        return {
            one["name"]: fields[one["valueFrom"]["fieldRef"]["fieldPath"]] if "valueFrom" in one else str(one["value"])
            for one in container["env"]
        }

    def _volumes(self, place: Path) -> dict[str, Path | None]:
        """By the path in the container: the folder of a ConfigMap or a file of it, or None for an emptyDir."""
        pod = self.pod()
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        return {
            mount["mountPath"]: folder / mount["subPath"] if folder and "subPath" in mount else folder
            for mount in container["volumeMounts"]
            for folder in [self._write_config_map(volumes[mount["name"]], place)]
        }

    def _write_config_map(self, volume: Manifest, place: Path) -> Path | None:
        if "emptyDir" in volume:
            return None
        found = self.api.get("v1/ConfigMap", volume["configMap"]["name"], namespace=self.namespace)
        assert found, f"the ConfigMap of the volume {volume['name']} is installed"
        folder = place / volume["name"]
        folder.mkdir()
        for file, text in found["data"].items():
            (folder / file).write_text(text)
        return folder

    def _account(self, folder: Path) -> Path:
        """Return what a kubelet mounts of the pod's ServiceAccount."""
        folder.mkdir()
        token = account_token(self.api, self.pod()["serviceAccountName"], namespace=self.namespace)
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_bytes(self.api.ca)
        (folder / "namespace").write_text(self.namespace)
        return folder
