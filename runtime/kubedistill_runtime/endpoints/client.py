"""The client of an endpoint: asks within its limits, and asks again while that may help.

An own loop and not a library of retries: a wait follows from the response, the budget belongs to the endpoint and not
to a call, and a row that fails while others are answered ends with a finish instead of an error.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from kubedistill.errors import BadCredentials, InvalidInput, KubedistillError
from kubedistill_runtime.chat.reasoning import remove_reasoning
from kubedistill_runtime.endpoints.adapters import ADAPTERS, Adapter
from kubedistill_runtime.endpoints.endpoint import Endpoint, Finish, Reply
from kubedistill_runtime.endpoints.failures import Kind, RequestFailed
from kubedistill_runtime.endpoints.limits import Limits
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Sampling

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_LONGEST_WAIT_WHILE_ANSWERED = 1.0
"""While the endpoint answers other rows, a longer wait would only delay the last row."""
_LONGEST_RETRY_AFTER = 120.0
_ROW_FAILURES = 5
"""Failures of one row after which the row is the cause, if the endpoint answered others meanwhile."""
_REJECTIONS = 16
"""Rows in a row, from the first on, whose rejection means that the settings are wrong and not the rows."""
_UNUSABLE = 16
"""Replies in a row, from the first on, whose lack of an answer means that the settings are wrong."""
_NO_LOGPROBS = "Remove the tokenizer of the endpoint, so that its text alone is used, or name another model"
_FIXES: Mapping[str, str] = {
    "temperature": "Set spec.generation.temperature to 1, or to one that the endpoint accepts, or name another model",
    "logprobs": _NO_LOGPROBS,
    "top_logprobs": _NO_LOGPROBS,
    "response_format": "Write task.answer.jsonSchema as the endpoint requires, or remove generation.structuredOutput",
}
"""What to do about a setting that an endpoint refuses."""
_STARTUP_SECONDS = 30.0
"""How long a failure that means a wrong address may be a network that is starting."""

_ADDRESSES: Mapping[Kind, tuple[str, str]] = {
    "UnknownHost": ("has an unknown host name", "Correct the host in the address"),
    "Certificate": ("has a certificate that is not trusted", "Name a certificate authority in SSL_CERT_FILE"),
    "WebPage": ("answers with a web page", "Name the address of its API, which often ends with /v1"),
}
"""Failures that mean a wrong address if the endpoint has never answered: what is wrong, and the fix."""


@dataclass(slots=True)
class _Health:
    """What is known of an endpoint from all its requests."""

    replies: int = 0
    rejected: int = 0
    unusable: int = 0
    """Replies without an answer, if all are."""
    failures: int = 0
    """Failures since the last reply or rejection."""
    down_since: float | None = None
    end: KubedistillError | None = None
    """Why no request can succeed any more."""

    def alive(self) -> None:
        """Note that the endpoint answered."""
        self.failures, self.down_since = 0, None

    def failed(self, now: float) -> float:
        """Note a failure, and return the seconds without any answer."""
        self.failures += 1
        self.down_since = now if self.down_since is None else self.down_since
        return now - self.down_since


@dataclass(slots=True)
class Client:
    """Asks one endpoint; all requests share its limits and its budget of retries."""

    endpoint: Endpoint
    adapter: Adapter
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    _limits: Limits = field(init=False)
    _health: _Health = field(default_factory=_Health, init=False)
    _probe: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._limits = Limits(self.endpoint, clock=self.clock, sleep=self.sleep)

    async def ask(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        """Return the reply to messages, or why there is none as its finish.

        Raises BadCredentials, InvalidModel, InvalidInput or QuotaExhausted if no request can succeed, and
        EndpointUnavailable if the endpoint did not answer anything for `retry_seconds`. Then no other request is sent.
        """
        try:
            return await self._ask(messages, sampling=sampling, seed=seed)
        except KubedistillError as error:
            self._health.end = self._health.end or error
            raise

    async def _ask(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        """Ask until there is a reply or a reason why there is none."""
        sent, before = 0, self._health.replies
        while True:
            async with self._turn():
                sent += 1
                try:
                    reply = await self._send(messages, sampling=sampling, seed=seed)
                except RequestFailed as error:
                    failure = error
                else:
                    return replace(reply, requests=sent)
                finish = self._judge(failure, failures=sent, answers_others=self._health.replies > before)
                if finish is not None:
                    return Reply("", finish, requests=sent, detail=failure.detail)
                await self.sleep(self._wait(failure, failures=sent))

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a turn: while nothing is answered, only one request at a time finds out whether that has changed."""
        while self._health.failures >= self.endpoint.max_in_flight + _ROW_FAILURES:
            async with self._probe:
                if self._health.failures >= self.endpoint.max_in_flight + _ROW_FAILURES:
                    yield
                    return
        yield

    async def _send(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        """Send one request within the limits; raises RequestFailed."""
        estimate = _estimate_tokens(messages) + sampling.max_tokens
        async with self._limits.slot(estimate):
            if self._health.end is not None:  # another request found out while this one waited
                raise self._health.end
            try:
                async with asyncio.timeout(self.endpoint.timeout_seconds):
                    reply = await self.adapter.ask(messages, sampling=sampling, seed=seed)
            except RequestFailed:
                self._limits.correct(estimated=estimate, used=0)
                raise
            except TimeoutError:
                seconds = self.endpoint.timeout_seconds
                raise RequestFailed("Timeout", f"no reply within {seconds:g} s") from None
        reply = replace(reply, text=remove_reasoning(reply.text))
        self._limits.correct(estimated=estimate, used=reply.prompt_tokens + reply.completion_tokens)
        self._health.replies += 1
        self._health.alive()
        self._check_use(reply, limit=sampling.max_tokens)
        return reply

    def _check_use(self, reply: Reply, *, limit: int) -> None:
        """Raise InvalidInput if the endpoint has given only replies that no job can use, before it is paid for more."""
        health, blank = self._health, not reply.text.strip() and reply.finish in ("stop", "length")
        health.unusable += blank or reply.finish == "other"
        if health.replies != health.unusable or health.unusable != _UNUSABLE:  # once: others on their way are stored
            return
        problem = f"none of the first {_UNUSABLE} replies of the endpoint has an answer"
        if blank and reply.finish == "stop":
            problem += " (its finish is stop, and its text is blank)"
            fix = "Let the server return answers as content: it may take all of a reply for reasoning"
        elif blank:
            problem += f" (its finish is {reply.finish}, at a limit of {limit} tokens)"
            fix = "Raise spec.generation.maxTokens, which limits reasoning and answer together, or name another model"
        else:
            problem += f" ({reply.detail})"
            fix = "Name another model, or an address whose replies say that they are whole"
        raise InvalidInput(problem, at=self.endpoint.at, fix=fix)

    def _judge(self, failure: RequestFailed, *, failures: int, answers_others: bool) -> Finish | None:
        """Return the finish of a row that is not asked again, or None if it is; raises the error of the endpoint."""
        treatment = failure.treatment
        if not treatment.retry:
            if treatment.finish is None:
                self._raise(failure)
            self._health.alive()
            self._health.rejected += 1
            if self._health.replies == 0 and self._health.rejected >= _REJECTIONS:
                self._raise_rejected(failure)
            return treatment.finish
        silent = self._health.failed(self.clock())
        if treatment.finish is not None and failures >= _ROW_FAILURES and answers_others:
            return treatment.finish
        never_answered = self._health.replies + self._health.rejected == 0
        if failure.kind in _ADDRESSES and never_answered and silent >= _STARTUP_SECONDS:
            self._raise_address(failure)
        if silent >= self.endpoint.retry_seconds:
            self._raise(failure)
        return None

    def _wait(self, failure: RequestFailed, *, failures: int) -> float:
        """Return the seconds until a row is asked again, with jitter, so that rows do not return all at once."""
        if failure.retry_after is not None:
            return min(failure.retry_after, _LONGEST_RETRY_AFTER) * (1 + self.random() / 4)
        answers = self._health.failures < self.endpoint.max_in_flight
        longest = _LONGEST_WAIT_WHILE_ANSWERED if answers else _LONGEST_WAIT
        return min(_FIRST_WAIT * 2.0 ** min(failures - 1, 16), longest) * (0.5 + self.random() / 2)

    def _raise(self, failure: RequestFailed) -> NoReturn:
        treatment, endpoint = failure.treatment, self.endpoint
        assert treatment.error is not None
        what = f"did not answer for {endpoint.retry_seconds:g} s" if treatment.retry else "refuses the request"
        fix = _FIXES.get(failure.setting, treatment.fix)
        raise treatment.error(f"the endpoint {what} ({failure.detail})", at=endpoint.at, fix=fix) from None

    def _raise_rejected(self, failure: RequestFailed) -> NoReturn:
        problem = f"the endpoint rejects each of the first {_REJECTIONS} prompts ({failure.detail})"
        fix = "Change the setting that it names, or shorten prompts and replies"
        fix = _FIXES.get(failure.setting, fix)
        raise InvalidInput(problem, at=self.endpoint.at, fix=fix) from None

    def _raise_address(self, failure: RequestFailed) -> NoReturn:
        what, fix = _ADDRESSES[failure.kind]
        raise InvalidInput(f"the endpoint {what} ({failure.detail})", at=self.endpoint.at, fix=fix) from None


def _estimate_tokens(messages: Sequence[Message]) -> int:
    """Estimate the tokens of a prompt: four characters or bytes each, as the vendors do, and a few per message."""
    return sum(len(message.content.encode(errors="replace")) // 4 + 4 for message in messages)


@contextlib.asynccontextmanager
async def open_client(endpoint: Endpoint, *, key: str) -> AsyncIterator[Client]:
    """Open the client of an endpoint; raises BadCredentials if the key can't be sent.

    Surrounding white space of the key is removed: Secrets often end with a line break.
    """
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        fix = "Put the key alone into the Secret, without quotes or a name"
        raise BadCredentials("the API key is empty, or has characters that no API key has", at=endpoint.at, fix=fix)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it writes a line for each request
    async with ADAPTERS[endpoint.api](endpoint, key=key) as adapter:
        yield Client(endpoint, adapter)
