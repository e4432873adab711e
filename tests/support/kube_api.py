"""A thin synchronous client of a Kubernetes API: manifests in, plain values out, refusals as one exception.

Kinds are written as "v1/ConfigMap" or "batch/v1/Job".
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError

Manifest = dict[str, Any]
Found = TypeVar("Found")
MERGE, JSON_PATCH, APPLY = (
    f"application/{kind}" for kind in ("merge-patch+json", "json-patch+json", "apply-patch+yaml")
)
_TIMEOUT = 60


class Refused(Exception):
    """The API server said no: code is HTTP's, reason and message are those of its Status."""

    def __init__(self, *, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


class Api:
    """Requests with one kubeconfig; every call waits at most 30 s for its answer."""

    def __init__(self, kubeconfig: Path) -> None:
        self._http = config.new_client_from_config(str(kubeconfig))
        # The client keeps what it discovers in a file by address, and addresses come again: a file of its own.
        self._cache = tempfile.TemporaryDirectory()
        self._client = DynamicClient(self._http, cache_file=f"{self._cache.name}/discovery.json")

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self._http.configuration.host)

    @property
    def ca(self) -> bytes:
        """The certificate of its authority, as PEM."""
        return Path(self._http.configuration.ssl_ca_cert).read_bytes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._cache.cleanup()

    def create(
        self, manifest: Manifest, *, namespace: str | None = None, dry_run: bool = False, strict: bool = False
    ) -> Manifest:
        """POST a manifest; `strict` refuses unknown fields, which are else pruned."""
        where = namespace or manifest["metadata"].get("namespace")
        query = [("fieldValidation", "Strict" if strict else "Ignore")]
        with _refusals():
            return (
                self._kind_of(manifest)
                .create(body=manifest, namespace=where, query_params=query, **_dry(dry_run))
                .to_dict()
            )

    def apply(
        self, manifest: Manifest, *, namespace: str | None = None, manager: str = "tests", dry_run: bool = False
    ) -> Manifest:
        """Apply a manifest server-side, by force."""
        where = namespace or manifest["metadata"].get("namespace")
        with _refusals():
            return (
                self._kind_of(manifest)
                .server_side_apply(
                    body=manifest,
                    namespace=where,
                    field_manager=manager,
                    force_conflicts=True,
                    _request_timeout=_TIMEOUT,
                    **_dry(dry_run),
                )
                .to_dict()
            )

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return one object; None where it is not there."""
        with _refusals():
            try:
                return self._kind(kind).get(name=name, namespace=namespace, _request_timeout=_TIMEOUT).to_dict()
            except NotFoundError:
                return None

    def list(
        self, kind: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """Return all objects of a kind, of one namespace or of all."""
        selector = ",".join(f"{name}={value}" for name, value in (labels or {}).items()) or None
        with _refusals():
            found = self._kind(kind).get(namespace=namespace, label_selector=selector, _request_timeout=_TIMEOUT)
        return found.to_dict()["items"]

    def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        content_type: str = MERGE,
    ) -> Manifest:
        """Patch an object or its subresource: a merge patch, unless content_type says otherwise."""
        resource = self._kind(kind)
        target = resource.subresources[subresource] if subresource else resource
        with _refusals():
            return target.patch(
                body=patch, name=name, namespace=namespace, content_type=content_type, _request_timeout=_TIMEOUT
            ).to_dict()

    def delete(self, kind: str, name: str, *, namespace: str | None = None, propagation: str = "Background") -> None:
        """Delete an object; it is well if it was not there."""
        with _refusals():
            try:
                self._kind(kind).delete(
                    name=name, namespace=namespace, propagation_policy=propagation, _request_timeout=_TIMEOUT
                )
            except NotFoundError:
                return

    def request(self, method: str, path: str, *, body: Any = None, accept: str = "application/json") -> Any:
        """Return the JSON answer to a plain request."""
        with _refusals():
            answer = self._client.request(
                method, path, body=body, header_params={"Accept": accept}, serialize=False, _request_timeout=_TIMEOUT
            )
            return json.loads(answer.data)

    def _kind(self, kind: str) -> Any:
        api_version, _, name = kind.rpartition("/")
        return self._client.resources.get(api_version=api_version, kind=name)

    def _kind_of(self, manifest: Manifest) -> Any:
        return self._kind(f"{manifest['apiVersion']}/{manifest['kind']}")


def wait_for(look: Callable[[], Found | None], *, what: str, seconds: float = 90) -> Found:
    """Look until there is something to see, and return it; fails with `what` was expected."""
    until = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
    return found


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "All"} if dry_run else {}


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except DynamicApiError as error:
        try:
            status = json.loads(error.body or "{}")
        except ValueError:  # a proxy or a stopping server answers in its own words
            status = {"message": error.body}
        raise Refused(
            code=error.status, reason=status.get("reason", ""), message=status.get("message", error.reason)
        ) from None
