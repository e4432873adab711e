"""Tokens of an endpoint: its replies as ids and distributions of the tokenizer that the manifest names.

A server such as vLLM gives ids. A vendor gives the bytes of each token, which is the same token if one token of the
tokenizer has exactly these bytes. Shapes: T generated tokens, K alternatives stored per token.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kubedistill.errors import InvalidData, InvalidModel
from kubedistill.json_values import Json, as_object
from kubedistill_runtime.answers import NO_TOKEN, TopK
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.endpoints.endpoint import Position, Reply, Token
from kubedistill_runtime.models import Model, read_object
from kubedistill_runtime.records import Message

_LEAST_MASS, _MOST_MASS = 1e-6, 1.01
"""Probabilities with another sum are not a distribution, even if they were rounded."""


class TextOnly(Exception):
    """Only the text of a reply can be used; the reason says why."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one reply."""

    prompt_ids: tuple[int, ...]
    """Empty if the endpoint states none, or others than this tokenizer's chat template."""
    completion_ids: tuple[int, ...]
    top: TopK
    logprobs_T: NDArray[np.float32] | None
    """None if that of the last token is not known."""


@dataclass(frozen=True, slots=True)
class TokenReader:
    """Reads the tokens of replies."""

    chat: ChatFormat
    k: int
    ids: Mapping[bytes, int]
    """The ids by their bytes; empty if the tokenizer is not one of bytes, so that only a server's ids are usable."""

    def read(self, reply: Reply, *, history: Sequence[Message]) -> Tokens:
        """Return the tokens of a reply to messages; raises TextOnly.

        A vendor does not state the token that ends a reply, so its distribution is not known there.
        """
        if not reply.positions:
            raise TextOnly("it has no log-probabilities")
        ids = [self._find(position.drawn) for position in reply.positions]
        known = [one for one in ids if one is not None and one < len(self.chat.tokenizer)]
        if len(known) < len(ids):
            raise TextOnly("it has a token that the tokenizer does not have")
        names_end = reply.positions[-1].drawn.id is not None
        if reply.finish == "stop" and not names_end:
            known.append(self.chat.end_id)
        elif reply.finish == "stop" and known[-1] not in self.chat.stop_ids:
            raise TextOnly("its last token does not end a reply")
        if self.chat.text(known) != reply.text:
            raise TextOnly("its tokens spell another text")
        logprobs = [position.drawn.logprob for position in reply.positions]
        return Tokens(
            self._check_prompt(reply, history),
            tuple(known),
            self._join(reply.positions, count=len(known)),
            np.array(logprobs, np.float32) if len(logprobs) == len(known) else None,
        )

    def _find(self, token: Token) -> int | None:
        return token.id if token.id is not None else self.ids.get(token.text or b"")

    def _check_prompt(self, reply: Reply, history: Sequence[Message]) -> tuple[int, ...]:
        """Return the ids of the prompt if they are those of this tokenizer's template; a server may have another."""
        try:
            same = bool(reply.prompt_ids) and tuple(self.chat.prompt_ids(history)) == reply.prompt_ids
        except (InvalidData, InvalidModel):  # the template refuses these messages, or can't encode them
            same = False
        return reply.prompt_ids if same else ()

    def _join(self, positions: Sequence[Position], *, count: int) -> TopK:
        """Return the distributions of all tokens; what has no id here belongs to the tail."""
        ids_TK = np.full((count, self.k), NO_TOKEN, np.int32)
        logprobs_TK = np.full((count, self.k), -np.inf, np.float64)
        for place, position in enumerate(positions):
            masses = self._collect(position)
            best = sorted(masses, key=lambda one: (-masses[one], one))[: self.k]
            ids_TK[place, : len(best)] = best
            logprobs_TK[place, : len(best)] = [masses[one] for one in best]
        sums_T = np.exp(logprobs_TK).sum(axis=1)
        stated_T = sums_T[: len(positions)]
        if not ((stated_T >= _LEAST_MASS) & (stated_T <= _MOST_MASS)).all():
            raise TextOnly("its probabilities do not have a sum from 0 to 1")
        tail_T = np.clip(1.0 - sums_T, 0.0, 1.0)
        tail_T[len(positions) :] = np.nan
        return TopK(ids_TK, logprobs_TK.astype(np.float16), tail_T.astype(np.float32))

    def _collect(self, position: Position) -> dict[int, float]:
        """Return the log-probability of each id; two tokens with one id have their sum."""
        masses: dict[int, float] = {}
        drawn = self._find(position.drawn)
        named = position.top if drawn in map(self._find, position.top) else (position.drawn, *position.top)
        for token in named:
            if math.isnan(token.logprob):
                raise TextOnly("a log-probability is not a number")
            one = self._find(token)
            if one is not None and one < NO_TOKEN and token.logprob != -math.inf:
                masses[one] = float(np.logaddexp(masses.get(one, -math.inf), token.logprob))
        return masses


def make_reader(tokenizer: Model, *, chat: ChatFormat, k: int) -> TokenReader:
    """Return the reader for a tokenizer and its chat format."""
    settings = read_object(tokenizer.path / "tokenizer.json", at=tokenizer.source, fix="Save the fast tokenizer")
    return TokenReader(chat, k, find_bytes(settings))


def find_bytes(settings: Mapping[str, Json]) -> dict[bytes, int]:
    """Return the id of each token of bytes in a tokenizer.json; empty if its decoder is not of bytes.

    Special tokens are left out: the same bytes as text are several other tokens.
    """
    decoder = as_object(settings.get("decoder"))
    inner = decoder.get("decoders")
    kinds = {as_object(one).get("type") for one in (decoder, *(inner if isinstance(inner, list) else []))}
    vocabulary = as_object(as_object(settings.get("model")).get("vocab"))
    if "ByteLevel" not in kinds:
        return {}
    listed = settings.get("added_tokens")
    added = {as_object(one).get("id") for one in (listed if isinstance(listed, list) else [])}
    alphabet = _alphabet()
    return {
        bytes(alphabet[char] for char in piece): one
        for piece, one in vocabulary.items()
        if isinstance(one, int) and one not in added and all(char in alphabet for char in piece)
    }


@cache
def _alphabet() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for, as GPT-2 defined it.

    Bytes that are printed in Latin-1 stand for themselves, and the others for the characters from 256 on, in order.
    """
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + place): byte for place, byte in enumerate(others)}
