"""Tokens of endpoints: which replies become ids and distributions of a tokenizer, and which are text only."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubedistill_runtime.answers import NO_TOKEN
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.checkpoints import find_tokenizer
from kubedistill_runtime.endpoints.endpoint import Position, Reply, Token
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message
from kubedistill_runtime.teachers.tokens import TextOnly, TokenReader, find_bytes, make_reader
from support.job_folder import QUICKSTART

K = 4
ASKED = (Message("user", "Where is my parcel?"),)
TOKENIZER: Model = find_tokenizer("teacher", data_root=QUICKSTART, store=None, at="endpoint.tokenizer")
CHAT: ChatFormat = load_chat_format(TOKENIZER, at="endpoint.tokenizer")
READER: TokenReader = make_reader(TOKENIZER, chat=CHAT, k=K)
SPELLED = {one: text for text, one in READER.ids.items()}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: CHAT.text(encode(text)) == text
)
"""Texts that the tokenizer returns as they were."""


def encode(text: str) -> list[int]:
    ids: list[int] = CHAT.tokenizer.encode(text, add_special_tokens=False)
    return ids


def positions(ids: Sequence[int], *, as_ids: bool, mass: float = 0.5) -> tuple[Position, ...]:
    """Return one position for each id, which has this mass, and another token that has half of the rest."""

    def token(one: int, share: float) -> Token:
        return Token(one, None, math.log(share)) if as_ids else Token(None, SPELLED[one], math.log(share))

    other = READER.ids[b"x"], READER.ids[b"y"]
    return tuple(
        Position(drawn := token(one, mass), (drawn, token(other[one == other[0]], (1 - mass) / 2))) for one in ids
    )


def by_ids(text: str, *, end: bool = True) -> Reply:
    """Return a reply as vLLM gives it."""
    ids = [*encode(text), *([CHAT.end_id] if end else [])]
    asked = tuple(CHAT.prompt_ids(ASKED))
    return Reply(text, "stop" if end else "length", prompt_ids=asked, positions=positions(ids, as_ids=True))


def by_bytes(text: str) -> Reply:
    """Return a reply as a vendor gives it, without its end."""
    return Reply(text, "stop", positions=positions(encode(text), as_ids=False))


@given(TEXTS)
@settings(max_examples=50)
def test_ids_of_a_server_are_taken_with_their_distributions(text: str) -> None:
    found = READER.read(by_ids(text), history=ASKED)
    assert found.prompt_ids == tuple(CHAT.prompt_ids(ASKED))
    assert found.completion_ids == (*encode(text), CHAT.end_id)
    assert found.logprobs_T is not None
    assert found.logprobs_T == pytest.approx(math.log(0.5))
    assert found.top.tail_T == pytest.approx(0.25)
    assert found.top.ids_TK[:, 0].tolist() == list(found.completion_ids)
    assert (found.top.ids_TK[:, 2:] == NO_TOKEN).all()
    assert (np.exp(found.top.logprobs_TK[:, 2:].astype(float)) == 0).all()


@given(TEXTS)
@settings(max_examples=50)
def test_bytes_of_a_vendor_become_the_same_ids_and_the_end_is_not_known(text: str) -> None:
    found, server = READER.read(by_bytes(text), history=ASKED), READER.read(by_ids(text), history=ASKED)
    assert found.completion_ids == server.completion_ids
    assert (found.prompt_ids, found.logprobs_T) == ((), None)
    assert found.top.ids_TK[:-1].tolist() == server.top.ids_TK[:-1].tolist()
    assert found.top.tail_T[:-1].tolist() == server.top.tail_T[:-1].tolist()
    assert np.isnan(found.top.tail_T[-1])


@given(
    st.lists(
        st.tuples(st.binary(max_size=3), st.floats(0.001, 1)), min_size=1, max_size=8, unique_by=lambda one: one[0]
    )
)
@settings(max_examples=100)
def test_what_has_no_id_is_in_the_tail_and_nothing_is_lost(named: list[tuple[bytes, float]]) -> None:
    total = sum(share for _, share in named) + 1
    others = tuple(Token(None, text, math.log(share / total)) for text, share in named)
    reply = Reply("x", "stop", positions=(Position(Token(None, b"x", math.log(0.5 / total)), others),))
    top = READER.read(reply, history=ASKED).top
    known = {READER.ids[text]: share / total for text, share in named if text in READER.ids}
    known.setdefault(READER.ids[b"x"], 0.5 / total)
    best = sorted(known, key=lambda one: (-known[one], one))[:K]
    assert [one for one in top.ids_TK[0].tolist() if one != NO_TOKEN] == best
    masses = np.exp(top.logprobs_TK[0].astype(float))
    assert masses[: len(best)] == pytest.approx([known[one] for one in best], rel=5e-3)
    assert masses.sum() + top.tail_T[0] == pytest.approx(1.0, abs=5e-3)


NO_TOKENS = replace(by_ids("yes"), positions=())
FOREIGN = Position(Token(None, b"\xff\xfe\xfd", -1.0), ())
BEYOND = Position(Token(10**6, None, -1.0), ())
SURE = Token(READER.ids[b"x"], None, 0.0)
REASONS = {
    "none": (NO_TOKENS, "no log-probabilities"),
    "bytes of no token": (Reply("x", "stop", positions=(FOREIGN,)), "does not have"),
    "an id beyond the vocabulary": (Reply("x", "stop", positions=(BEYOND,)), "does not have"),
    "no end": (replace(by_ids("yes", end=False), finish="stop"), "does not end"),
    "another text": (replace(by_ids("yes"), text="no"), "another text"),
    "probabilities above 1": (
        Reply("x", "stop", positions=(Position(replace(SURE, text=b"x", id=None), (SURE, Token(0, None, -0.1))),)),
        "sum from 0 to 1",
    ),
    "no probability": (Reply("x", "stop", positions=(Position(Token(None, b"x", -9999.0), ()),)), "sum from 0 to 1"),
    "a probability that is not a number": (
        Reply("x", "stop", positions=(Position(Token(None, b"x", math.nan), ()),)),
        "not a number",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_other_replies_are_text_only(case: str) -> None:
    reply, reason = REASONS[case]
    with pytest.raises(TextOnly, match=reason):
        READER.read(reply, history=ASKED)


def test_a_prompt_that_the_server_renders_otherwise_is_not_taken() -> None:
    reply = by_ids("yes")
    assert READER.read(replace(reply, prompt_ids=(1, *reply.prompt_ids)), history=ASKED).prompt_ids == ()
    assert READER.read(reply, history=(Message("user", "Another?"),)).prompt_ids == ()


def test_a_reply_that_was_cut_off_has_no_end() -> None:
    assert READER.read(by_ids("yes", end=False), history=ASKED).completion_ids == tuple(encode("yes"))


def test_the_drawn_token_counts_once_if_its_two_numbers_differ() -> None:
    drawn = READER.ids[b"x"]
    position = Position(Token(None, b"x", -0.7), (Token(None, b"x", -0.6999), Token(None, b"y", -2.0)))
    top = READER.read(Reply("x", "stop", positions=(position,)), history=ASKED).top
    assert top.ids_TK[0].tolist().count(drawn) == 1
    assert float(top.logprobs_TK[0, 0]) == pytest.approx(-0.7, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({"decoder": {"type": "Metaspace"}, "model": {"vocab": {"a": 1}}}, {}),
        ({"model": {"vocab": {"a": 1}}}, {}),
        (
            {
                "decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}]},
                "model": {"vocab": {"Ġa": 1, "Ã©": 2, "<end>": 3, "日": 4}},
                "added_tokens": [{"id": 3, "content": "<end>", "special": True}],
            },
            {b" a": 1, "é".encode(): 2},
        ),
    ],
)
def test_only_tokens_of_bytes_have_bytes(settings: dict, ids: dict[bytes, int]) -> None:
    assert find_bytes(settings) == ids


def test_every_token_of_a_tokenizer_spells_its_bytes() -> None:
    for text, one in READER.ids.items():
        if text.decode(errors="replace").encode() == text:
            assert CHAT.tokenizer.decode([one]) == text.decode()
    assert len(READER.ids) > 1000
