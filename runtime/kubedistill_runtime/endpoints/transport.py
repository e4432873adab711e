"""The transport: one POST through a vendor's client, and its failures in the words of this package.

The vendors' own retries are switched off: they know neither our limits nor the answers that are not usable.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp

from kubedistill.json_values import JsonObject
from kubedistill_runtime.endpoints.failures import (
    Problem,
    RequestFailed,
    classify_network,
    classify_status,
    describe_network,
    find_reported,
    find_setting,
    read_problem,
    shorten,
)
from kubedistill_runtime.endpoints.parameters import Parameters

if TYPE_CHECKING:
    import anthropic
    import httpx2
    import openai

    StatusError = type[openai.APIStatusError] | type[anthropic.APIStatusError]
    NetworkError = type[openai.APIConnectionError] | type[anthropic.APIConnectionError]


@dataclass(frozen=True, slots=True)
class Transport:
    """Sends requests through a vendor's client, whose classes of errors are given."""

    send: Callable[[str, JsonObject], Awaitable["httpx2.Response"]]
    status_error: "StatusError"
    network_error: "NetworkError"
    key: str = field(repr=False)

    async def post_adapted(self, path: str, values: JsonObject, *, parameters: Parameters) -> bytes:
        """Return the body of a successful response like post, without parameters that the endpoint refuses."""
        while True:
            sent = parameters.arrange(values)
            try:
                return await self.post(path, sent)
            except RequestFailed as failure:
                if not parameters.learn(failure, sent=sent):
                    raise

    async def post(self, path: str, values: JsonObject) -> bytes:
        """Return the body of a successful response; raises RequestFailed.

        The vendor's errors are not chained: they hold the request with its headers.
        """
        try:
            response = await self.send(path, values)
            reported = find_reported(response.content)
            if reported is None:
                return response.content
            failure = self._explain(response, *reported)
        except self.status_error as error:
            failure = self._explain(error.response, error.response.status_code, read_problem(error.response.content))
        except (self.network_error, aiohttp.ClientError) as error:
            failure = RequestFailed(classify_network(error), shorten(describe_network(error), key=self.key))
        raise failure

    def _explain(self, response: "httpx2.Response", status: int, problem: Problem) -> RequestFailed:
        """Return the failure that a response with an error means."""
        target = response.headers.get("location")
        words = f"it redirects to {target}" if target else problem.message
        detail = shorten(f"HTTP {status}: {words}" if words else f"HTTP {status}", key=self.key)
        return RequestFailed(
            classify_status(status, problem),
            detail,
            retry_after=read_retry_after(response.headers, now=time.time()),
            setting=find_setting(status, problem),
        )


def read_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds to wait that a response states, as milliseconds, seconds or a date; None if it states none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - now)
    except (KeyError, ValueError):  # there is none, or it is not a date either
        return None
