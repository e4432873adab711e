"""A client for the API server in a pod: HTTPS with the pod's token, each call limited in time and size.

A call that may succeed later raises TransientError, and `retry_until` makes it again. A call that the server refuses
for good returns a Reply with its status and reason.
"""

import http.client
import json
import logging
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kubedistill.errors import ChannelUnavailable
from kubedistill.json_values import Json

log = logging.getLogger(__name__)

ACCOUNT_VARIABLE = "KUBEDISTILL_SERVICE_ACCOUNT"
"""Environment variable for the folder of token, ca.crt and namespace, if it is not the kubelet's default."""

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_REPLY_BYTES = 4 * 2**20  # etcd stores no object over 1.5 MiB
_MESSAGE_LENGTH = 300
"""Characters of the server's message that an error quotes."""
_TRANSIENT = (401, 408, 409, 425, 429)
"""Statuses, in addition to 5xx, that may succeed on retry; a 401 when the kubelet has renewed the token."""
TIMEOUT_SECONDS = 600.0
"""How long a failing call is retried."""
MAX_PAUSE_SECONDS = 60.0
"""The longest pause between two calls."""
_Result = TypeVar("_Result")


class TransientError(Exception):
    """A call that may succeed on retry: cut off, late, garbled, or refused for now.

    After `timeout` seconds it counts as permanent; `retry_after` are the seconds that the server asks for.
    """

    def __init__(
        self,
        problem: str,
        *,
        retry_after: float = 0.0,
        timeout: float = TIMEOUT_SECONDS,
        fix: str = "Check that the pod reaches it",
    ) -> None:
        super().__init__(problem)
        self.retry_after, self.timeout, self.fix = retry_after, timeout, fix


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status, with the requested object, or with the reason of the refusal for statuses of 300 and more."""

    status: int
    values: Mapping[str, Json]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The address of the API server, and the folder of the ServiceAccount's token, CA and namespace."""

    host: str
    port: int
    account: Path
    seconds: float = 10.0
    """How long one call may take, from the connection to the last byte."""
    clock: Callable[[], float] = field(default=time.monotonic, compare=False)

    @property
    def namespace(self) -> str:
        """The pod's namespace; raises ChannelUnavailable if no ServiceAccount is mounted."""
        try:
            found = (self.account / "namespace").read_text().strip()
        except (OSError, ValueError):
            found = ""
        if not found:
            fix = "Mount the ServiceAccount's token into the driver's pod"
            raise ChannelUnavailable("the pod has no ServiceAccount", at=str(self.account / "namespace"), fix=fix)
        return found

    def call(self, method: str, path: str, *, patch: list[dict[str, str]] | None = None) -> Reply:
        """Make one call, with a JSON Patch as body or none; redirects are not followed.

        Raises TransientError if a retry may succeed. Token and CA are read each time, since both are renewed in place.
        """
        until = self.clock() + self.seconds
        connection = None
        try:
            trust = ssl.create_default_context(cafile=self.account / "ca.crt")
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=self.seconds, context=trust)
            connection.request(method, path, body=None if patch is None else json.dumps(patch), headers=self._headers())
            with connection.getresponse() as response:
                return _parse(response, self._read(response, until=until))
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise TransientError(f"{type(error).__name__}: {_shorten(error)}") from error
        finally:
            if connection is not None:
                connection.close()

    def _headers(self) -> dict[str, str]:
        """Return the headers of a call; raises TransientError if the token's file does not contain a token."""
        token = (self.account / "token").read_bytes().strip()
        if not token.isascii() or b"\n" in token or b"\r" in token:  # http.client's error message would print the token
            raise TransientError(f"{self.account / 'token'} does not contain a token")
        return {
            "Authorization": f"Bearer {token.decode()}",
            "Accept": "application/json",
            "Content-Type": "application/json-patch+json",
            "User-Agent": "kubedistill-runtime",
        }

    def _read(self, response: http.client.HTTPResponse, *, until: float) -> bytes:
        """Read a body; raises TransientError if it has too many bytes or takes too long."""
        body = bytearray()
        while part := response.read1(65536):
            body += part
            if len(body) > _REPLY_BYTES:
                raise TransientError(f"its reply is longer than {_REPLY_BYTES} bytes")
            if self.clock() > until:
                raise TransientError(f"its reply took longer than {self.seconds:g} s")
        return bytes(body)


def find_api_server(environment: Mapping[str, str] = os.environ) -> ApiServer:
    """Return the API server of this pod's cluster; raises ChannelUnavailable outside of a cluster."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise ChannelUnavailable(
            f"there is no API server at host '{host}', port '{port}'",
            at="KUBERNETES_SERVICE_HOST and _PORT",
            fix="Run this in a pod, or without KUBEDISTILL_CHANNEL",
        )
    return ApiServer(host, int(port), Path(environment.get(ACCOUNT_VARIABLE) or _ACCOUNT))


def retry_until(
    call: Callable[[], _Result], *, at: str, clock: Callable[[], float], sleep: Callable[[float], None]
) -> _Result:
    """Retry a call with growing pauses until it succeeds; raises ChannelUnavailable after the error's timeout."""
    start, pause = clock(), 1.0
    while True:
        try:
            return call()
        except TransientError as transient:
            left = start + transient.timeout - clock()
            if left <= 0:
                raise ChannelUnavailable(
                    f"the API server can't be reached ({transient})", at=at, fix=transient.fix
                ) from transient
            log.warning("calling the API server again", extra={"problem": str(transient)})
            sleep(min(left, max(pause, min(transient.retry_after, MAX_PAUSE_SECONDS))))
            pause = min(2 * pause, 30.0)


def _parse(response: http.client.HTTPResponse, body: bytes) -> Reply:
    """Return a response as a reply; raises TransientError if its status or its body suggests a retry."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if response.status < 300 and not isinstance(values, dict):
        raise TransientError(f"its reply is not a JSON object: {body[:60]!r}")
    if response.status < 300:
        return Reply(response.status, values)
    said = values.get("message") if isinstance(values, dict) else ""
    reason = f"{response.status} {_shorten(said or response.reason)}"
    if response.status in _TRANSIENT or response.status >= 500:
        after = response.headers.get("Retry-After", "")
        plain = after.isascii() and after.isdecimal() and len(after) < 6
        raise TransientError(f"it answered {reason}", retry_after=float(after) if plain else 0.0)
    return Reply(response.status, {}, reason)


def _shorten(said: object) -> str:
    """Return a message of the server or an error on one line, cut to a readable length."""
    return " ".join(str(said).split())[:_MESSAGE_LENGTH]
