"""Answers of an endpoint: ask it for the rows that the cache does not have, many at a time, and store what arrives."""

import asyncio
import contextlib
import gc
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from kubedistill.errors import InvalidInput, KubedistillError
from kubedistill_runtime.answers import Answer, Turn, TurnUsage
from kubedistill_runtime.endpoints.client import Client, open_client
from kubedistill_runtime.endpoints.endpoint import Endpoint, Reply
from kubedistill_runtime.records import Message, open_turns
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.teachers.cache import AnswerCache, Row
from kubedistill_runtime.teachers.conversation import turn_seed
from kubedistill_runtime.teachers.in_flight import InFlight, settle_lost
from kubedistill_runtime.teachers.recent_answers import RecentAnswers
from kubedistill_runtime.teachers.tokens import TextOnly, TokenReader
from kubedistill_runtime.teachers.usage import Usage

log = logging.getLogger(__name__)
_STORE_SECONDS = 2.0
"""How often answers that arrived are stored."""
_UNREADABLE = 16
"""Replies, from the first on, whose tokens can't be read, which means that the manifest names another tokenizer."""
_DRAIN_SECONDS = 10.0
"""How long to wait for replies that are on their way, and paid for, when the work ends early."""


@dataclass(frozen=True, slots=True)
class EndpointGenerator:
    """An endpoint that generates, with its key and its sampling."""

    endpoint: Endpoint
    api_key: str = field(repr=False)
    sampling: Sampling
    seed: int
    tokens: TokenReader | None = None
    """Reads the tokens of replies; without one, only their text is used."""


def answer_rows(
    rows: Sequence[Row],
    *,
    cache: AnswerCache,
    generator: EndpointGenerator,
    report: Callable[[int, int], None],
    charge: Callable[[TurnUsage], None],
) -> Usage:
    """Ask for the answers that the cache does not have, and return the usage of those that were asked for now.

    Rows for which the endpoint failed in an earlier run are asked again.
    Each answer is in the store within 5 s of its arrival, and in shards at the end. `report` receives the numbers of
    answered rows and of generated tokens every few seconds; it may raise Stopped. `charge` receives the usage of each
    answer that arrived, once. After Stopped, and if the endpoint raises one
    of the errors of `Client.ask`, the replies that are on their way are awaited for some seconds, and nothing that
    arrived is lost.
    """
    recent = RecentAnswers(cache)
    recent.recover()
    known = cache.find_final().keys()
    settle_lost(cache.store, cache.key, known=known)
    left = Counter(row.key for row in rows if row.key not in known)
    wanted = list({row.key: row for row in rows if row.key in left}.values())
    in_flight, done = InFlight(cache.store, cache.key), len(rows) - left.total()
    run = _Run(wanted, generator, recent, in_flight, left, report, charge, done=done)
    with _frozen_heap():
        return asyncio.run(run.answer_all())


@contextlib.contextmanager
def _frozen_heap() -> Iterator[None]:
    """Leave what exists already out of garbage collections: they would read all of it for every few hundred requests.

    It is a part of the CPU time of a request that limits how many are in flight. What exists is not collected before:
    that alone takes 0.2 s, and garbage is released when the heap is unfrozen.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def converse(row: Row, *, client: Client, generator: EndpointGenerator, text_only: Counter[str]) -> Answer:
    """Return the answer to a row, asked turn by turn; a turn without a whole answer is the last one.

    Anthropic's API refuses a conversation with a blank reply, and no filter keeps one. Of a reply whose tokens can't be
    read, only the text is used, and the reason is counted.
    """
    history: list[Message] = []
    turns: list[Turn] = []
    for number, question in enumerate(open_turns(row.record)):
        history += question
        seed = turn_seed(row, turn=number, seed=generator.seed)
        reply = await client.ask(history, sampling=generator.sampling, seed=seed)
        try:
            turns.append(make_turn(reply, history, tokens=generator.tokens))
        except TextOnly as error:
            text_only[str(error)] += 1
            turns.append(make_turn(reply, history, tokens=None))
        if reply.finish != "stop" or not reply.text.strip():
            break
        history.append(Message("assistant", reply.text))
    return Answer(row.key, tuple(turns))


def make_turn(reply: Reply, history: Sequence[Message], *, tokens: TokenReader | None) -> Turn:
    """Return the turn of a reply, with its ids and distributions if a reader is given; raises TextOnly."""
    usage = TurnUsage(
        reply.model, reply.fingerprint, reply.prompt_tokens, reply.completion_tokens, reply.requests, reply.detail
    )
    text_only = Turn((), (), reply.text, reply.finish, usage=usage)
    if tokens is None or reply.finish not in ("stop", "length"):
        return text_only
    found = tokens.read(reply, history=history)
    return replace(
        text_only,
        prompt_ids=found.prompt_ids,
        completion_ids=found.completion_ids,
        top=found.top,
        logprobs_T=found.logprobs_T,
    )


@dataclass(slots=True)
class _Run:
    """One call of answer_rows; whatever writes to the store runs in a thread, one at a time."""

    wanted: list[Row]
    generator: EndpointGenerator
    recent: RecentAnswers
    in_flight: InFlight
    left: Counter[str]
    """How many rows wait for each answer: records may be equal."""
    report: Callable[[int, int], None]
    charge: Callable[[TurnUsage], None]
    done: int
    usage: Usage = field(default_factory=Usage, init=False)
    _begun: int = field(default=0, init=False)
    """How many of the wanted rows are noted as in flight."""
    _ready: deque[Row] = field(default_factory=deque, init=False)
    """Rows that are noted as in flight and wait for a worker."""
    _asked: dict[str, Row] = field(default_factory=dict, init=False)
    """Rows that were given to a worker, and whose answers are not stored yet."""
    _arrived: list[Answer] = field(default_factory=list, init=False)
    _ending: bool = field(default=False, init=False)
    _replies: int = field(default=0, init=False)
    _readable: int = field(default=0, init=False)
    """How many of the replies have tokens that could be read."""
    _text_only: Counter[str] = field(default_factory=Counter, init=False)
    """Why the tokens of replies could not be read."""
    _next_row: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _disk: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def answer_all(self) -> Usage:
        """Ask for every row that is wanted."""
        self.report(self.done, 0)
        if not self.wanted:
            return self.usage
        try:
            async with open_client(self.generator.endpoint, key=self.generator.api_key) as client:
                await self._run_workers(client)
        finally:
            await self._store_arrived()
            self.recent.merge()
            self.in_flight.end(asked=self._asked)
            self._warn_text_only()
        self.report(self.done, self.usage.completion_tokens)
        return self.usage

    async def _run_workers(self, client: Client) -> None:
        """Store and report while workers ask; raises the first error of any of them."""
        # Twice as many as may be in flight: some wait because the endpoint asked them to.
        count = min(2 * self.generator.endpoint.max_in_flight, len(self.wanted))
        workers = {asyncio.create_task(self._work(client)) for _ in range(count)}
        reporter = asyncio.create_task(self._report_repeatedly())
        work = asyncio.create_task(_join(workers))
        try:
            while not work.done():
                await asyncio.wait({work, reporter}, timeout=_STORE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                await self._store_arrived()
                if reporter.done():
                    reporter.result()
            work.result()
        finally:
            reporter.cancel()
            await self._drain(workers)
            await asyncio.gather(reporter, work, return_exceptions=True)

    async def _report_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(_STORE_SECONDS)
            await asyncio.to_thread(self.report, self.done, self.usage.completion_tokens)

    async def _drain(self, workers: set[asyncio.Task[None]]) -> None:
        """Let workers finish their rows for some seconds; what they raise then does not matter any more."""
        self._ending = True
        if workers:
            _, late = await asyncio.wait(workers, timeout=_DRAIN_SECONDS)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, client: Client) -> None:
        generator = self.generator
        while (row := await self._take()) is not None:
            try:
                answer = await converse(row, client=client, generator=generator, text_only=self._text_only)
            except KubedistillError:
                if len(open_turns(row.record)) == 1:  # the endpoint said that there is no reply, so none is lost
                    del self._asked[row.key]
                raise
            self._arrived.append(answer)
            self._check_tokens(answer)

    def _check_tokens(self, answer: Answer) -> None:
        """Raise InvalidInput if the tokens of none of the first replies can be read, before more of them are paid for.

        Without this, a job that trains on distributions would train on the text alone.
        """
        if self.generator.tokens is None or not answer.turns or answer.turns[-1].finish not in ("stop", "length"):
            return
        self._readable += bool(answer.turns[-1].completion_ids)
        self._replies += 1
        if self._readable or self._replies != min(_UNREADABLE, len(self.wanted)):
            return
        (reason, count), *_ = self._text_only.most_common(1)
        raise InvalidInput(
            f"the tokens of none of the first {self._replies} replies are those of the tokenizer ({count}: {reason})",
            at=f"{self.generator.endpoint.at}.tokenizer",
            fix="Name the tokenizer of the endpoint's model, or remove it, so that the text alone is used",
        )

    def _warn_text_only(self) -> None:
        """Say once of how many replies only the text is used, and why."""
        if self._text_only:
            reasons = ", ".join(f"{count}: {reason}" for reason, count in self._text_only.most_common())
            log.warning("%s: only the text of some replies is used (%s)", self.generator.endpoint.at, reasons)

    async def _take(self) -> Row | None:
        """Return the next row, noted as in flight; None if there is no other, or the work is ending."""
        async with self._next_row:
            if not self._ready and not self._ending:
                block = self.wanted[self._begun : self._begun + self.generator.endpoint.max_in_flight]
                if block:
                    async with self._disk:
                        await asyncio.to_thread(self.in_flight.begin, block)
                self._begun += len(block)
                self._ready.extend(block)
            if self._ending or not self._ready:
                return None
            row = self._ready.popleft()
            self._asked[row.key] = row
            return row

    async def _store_arrived(self) -> None:
        """Make durable what arrived, and show that this driver is alive."""
        async with self._disk:
            arrived = self._arrived[:]
            await asyncio.to_thread(self.recent.add, arrived)
            del self._arrived[: len(arrived)]
            for answer in arrived:
                del self._asked[answer.row_key]
                self.done += self.left.pop(answer.row_key)
                for turn in answer.turns:
                    self._count(turn)
            self.in_flight.done(answer.row_key for answer in arrived)
            await asyncio.to_thread(self.in_flight.beat)

    def _count(self, turn: Turn) -> None:
        self.usage.add(turn)
        if turn.usage is not None:
            self.charge(turn.usage)


async def _join(workers: set[asyncio.Task[None]]) -> None:
    """Wait for all workers; raises the first error of one."""
    await asyncio.gather(*workers)
