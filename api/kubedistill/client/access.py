"""Access to a cluster: its server, user and namespace, from a kubeconfig or from the pod that this process runs in."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedistill.errors import InvalidInput, NoCluster

# Not Path.home(): without $HOME it needs an entry in /etc/passwd, which the user of a pod may not have.
_DEFAULT = Path(os.environ.get("HOME", "/")) / ".kube" / "config"
_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_FIX = "Name a kubeconfig with --kubeconfig or $KUBECONFIG"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster; without a kubeconfig, by the service account of the pod that this process runs in."""

    kubeconfig: str | None
    context: str | None
    namespace: str
    """The default namespace."""

    def configure(self) -> Any:
        """Return the configuration of the `kubernetes` library's synchronous client."""
        from kubernetes import client, config

        configuration = client.Configuration()
        if self.kubeconfig is None:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                self.kubeconfig, context=self.context, client_configuration=configuration, persist_config=False
            )
        configuration.retries = False  # report an unreachable server at once, and without warnings of urllib3
        return configuration

    async def configure_async(self) -> Any:
        """Return the configuration of the library's asynchronous client."""
        from kubernetes.aio import client, config

        configuration = client.Configuration()
        if self.kubeconfig is None:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                self.kubeconfig, context=self.context, client_configuration=configuration, persist_config=False
            )
        return configuration


def find_access(
    *, kubeconfig: Path | str | None = None, context: str | None = None, namespace: str | None = None
) -> Access:
    """Find a cluster as kubectl does: by the named file, $KUBECONFIG, ~/.kube/config, or the account of the pod.

    Raises NoCluster if there is none of them, or no such context, and InvalidInput without the `kubernetes` library.
    """
    config = _import_library()
    named = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
    if named is None and not _DEFAULT.is_file():
        if not (_POD / "token").is_file():
            raise NoCluster("there is no kubeconfig", fix=_FIX)
        return Access(None, None, namespace or (_POD / "namespace").read_text().strip())
    found = named or str(_DEFAULT)
    import yaml

    try:
        contexts, active = config.list_kube_config_contexts(found)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        # The library does not check the structure of the file.
        raise NoCluster(f"the file is not a valid kubeconfig ({_first_line(error)})", at=found, fix=_FIX) from error
    chosen = active if context is None else next((one for one in contexts if one["name"] == context), None)
    if chosen is None:
        names = ", ".join(one["name"] for one in contexts) or "none"
        problem = f'there is no context "{context}"' if context else "the file sets no current context"
        raise NoCluster(problem, at=found, fix=f"Choose one with --context: {names}")
    return Access(found, chosen["name"], namespace or chosen["context"].get("namespace") or "default")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _import_library() -> Any:
    """Import the `kubernetes` library; raises InvalidInput if it is not installed."""
    try:
        from kubernetes import config
    except ImportError as error:
        fix = "Install it with: pip install 'kubedistill[client]'"
        raise InvalidInput("access to a cluster needs the `kubernetes` library", fix=fix) from error
    return config
