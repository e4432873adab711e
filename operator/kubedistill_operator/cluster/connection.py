"""The connection: the address of the API server and the credentials, from the pod or from a kubeconfig."""

import contextlib
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from kubedistill.errors import InvalidInput

_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_UNREADABLE = (
    config.ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
)
"""What the library raises for an invalid kubeconfig, since it does not check the file's structure."""


@dataclass(frozen=True, slots=True)
class Login:
    """How other clients reach the API server."""

    server: str
    ca_path: str | None
    insecure: bool
    token: str | None
    certificate_path: str | None
    key_path: str | None

    def open_session(self, *, accepted: Callable[[str], None]) -> aiohttp.ClientSession:
        """Return a session, which the caller closes; `accepted` gets the URL of every request answered with 200."""
        context = ssl.create_default_context(cafile=self.ca_path)
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.certificate_path and self.key_path:
            context.load_cert_chain(self.certificate_path, self.key_path)

        async def on_request_end(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
            if end.response.status == 200:
                accepted(str(end.url))

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(on_request_end)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            trace_configs=[trace],
            trust_env=uses_proxy(self.server),
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection to one API server, from which clients are created."""

    configuration: Configuration

    @classmethod
    async def find(cls, kubeconfig: Path | None = None) -> Self:
        """Use the pod's ServiceAccount, or a kubeconfig if one is named or we are not in a cluster.

        Raises InvalidInput if there is neither.
        """
        configuration = Configuration()
        named = kubeconfig or (Path(os.environ["KUBECONFIG"]) if os.environ.get("KUBECONFIG") else None)
        try:
            if named is None and os.environ.get(_IN_CLUSTER):
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    str(named) if named else None, client_configuration=configuration, persist_config=False
                )
        except _UNREADABLE as error:
            first, *_ = str(error).splitlines() or [type(error).__name__]
            problem = f"the cluster cannot be reached ({first})"
            raise InvalidInput(problem, at=str(named or ""), fix="Name a kubeconfig by --kubeconfig") from error
            # With trust_env, aiohttp looks for a .netrc before every request, on another thread.
        configuration.client_session_kwargs = {"trust_env": uses_proxy(configuration.host)}
        return cls(configuration)

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.configuration.host)

    async def log_in(self) -> Login:
        """Return the current credentials; a ServiceAccount's token is renewed about every hour."""
        configuration = self.configuration
        header = await configuration.get_api_key_with_prefix("BearerToken")
        return Login(
            server=self.server,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            token=header.split()[-1] if header else None,
            certificate_path=configuration.cert_file,
            key_path=configuration.key_file,
        )


def uses_proxy(server: str) -> bool:
    """Return whether the environment may name a proxy for a server.

    NO_PROXY may contain networks, such as 10.0.0.0/8, which aiohttp does not support; it matches other names itself.
    """
    proxies = getproxies()
    return bool(proxies) and not _is_within(urlsplit(server).hostname or "", proxies.get("no", "").split(","))


def _is_within(host: str, networks: list[str]) -> bool:
    """Return whether a host is an address in one of the networks; ignore whatever is neither address nor network."""
    for network in networks:
        with contextlib.suppress(ValueError):
            if ip_address(host) in ip_network(network.strip(), strict=False):
                return True
    return False
