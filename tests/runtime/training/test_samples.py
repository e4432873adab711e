"""Samples: which ids of an answer are scored, in whose tokens, and with which of the teacher's distributions."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.answers import Answer, AnsweredRecord, TopK, Turn
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.training.batches import make_batch
from kubedistill_runtime.training.rendering import Form, Rendering
from kubedistill_runtime.training.samples import Counts, Sample, make_samples

STUDENT = Path(__file__).parents[3] / "examples" / "quickstart" / "student"
ASK = Message("user", "Where is my parcel?")
THANK = Message("user", "Thanks, and the bill?")


@pytest.fixture
def chat() -> ChatFormat:
    return load_chat_format(Model("student", STUDENT, "d", 0, {}), at="spec.student.model.source")


class NoTokenizer:
    """Fails when asked for ids or a rendering; whether a reply begins with a thought may be looked at."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return "text"

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"stored ids are used as they are, and {name} was asked for")


UNUSED = ChatFormat(NoTokenizer(), (2,), 2)


def top_of(ids: tuple[int, ...]) -> TopK:
    """Return a distribution that names the id it belongs to, to check that it stays with it."""
    column = np.array(ids, dtype=np.int32)[:, None]
    return TopK(column, np.zeros((len(ids), 1), np.float16), column[:, 0].astype(np.float32))


def stored(prompt: tuple[int, ...], completion: tuple[int, ...], *, known: bool = True) -> Turn:
    return Turn(prompt, completion, "text", "stop", top_of(completion) if known else None)


def answered(*turns: Turn, messages: tuple[Message, ...] = ()) -> AnsweredRecord:
    return AnsweredRecord(Record("r", messages or (ASK,) * len(turns)), 0, Answer("key", turns))


def make(
    *answers: AnsweredRecord, chat: ChatFormat = UNUSED, form: Form = "Generated", max_length: int = 512
) -> list[Sample]:
    counts = Counts()
    samples = list(make_samples(answers, rendering=Rendering(chat, form), max_length=max_length, counts=counts))
    unknown = sum(sample.top is None for sample in samples)
    assert counts == Counts(len(samples), 0, unknown, split=counts.split)
    return samples


def scored_ids(sample: Sample) -> list[int]:
    return sample.ids_L[sample.scored_L].tolist()


def test_prompt_is_never_scored_and_the_whole_answer_is() -> None:
    (sample,) = make(answered(stored((5, 6, 7), (8, 9, 2))))
    assert sample.ids_L.tolist() == [5, 6, 7, 8, 9, 2]
    assert sample.scored_L.tolist() == [False, False, False, True, True, True]


def test_stop_token_is_scored_even_where_padding_shares_its_id() -> None:
    """The mask comes from lengths; a mask made of ids would hide the one id that ends an answer."""
    stop = pad = 0
    short, long = make(answered(stored((5,), (8, stop))), answered(stored((5, 6, 7), (8, 9, 9, stop))))
    batch = make_batch([short, long], device=torch.device("cpu"))
    assert batch.ids_BL[0].tolist() == [5, 8, stop, pad, pad, pad, pad]
    assert batch.attention_BL[0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert batch.targets_N.tolist() == [8, stop, 8, 9, 9, stop]


def test_rendered_answer_ends_with_a_scored_stop_token_that_padding_may_share(chat: ChatFormat) -> None:
    chat.tokenizer.pad_token = chat.tokenizer.eos_token
    (sample,) = make(*given_answers([Record("r", (ASK,), references=("billing.fix",))]), chat=chat)
    assert chat.tokenizer.decode(scored_ids(sample)) == "billing.fix<end>"
    assert scored_ids(sample)[-1] == chat.tokenizer.pad_token_id == chat.stop_ids[0]


def test_given_answer_is_rendered_by_the_students_template(chat: ChatFormat) -> None:
    messages = (Message("system", "Be brief."), ASK)
    (sample,) = make(*given_answers([Record("r", messages, references=("billing.fix", "other"))]), chat=chat)
    turns = [{"role": message.role, "content": message.content} for message in messages]
    whole = chat.tokenizer.apply_chat_template(
        [*turns, {"role": "assistant", "content": "billing.fix"}], tokenize=True, return_dict=False
    )
    assert sample.ids_L.tolist() == whole
    assert sample.top is None


def test_turns_share_a_sample_when_each_prompt_begins_with_the_turn_before() -> None:
    first = stored((5, 6), (8, 2))
    second = stored((5, 6, 8, 2, 7), (9, 9, 2))
    (sample,) = make(answered(first, second))
    assert sample.ids_L.tolist() == [5, 6, 8, 2, 7, 9, 9, 2]
    assert scored_ids(sample) == [8, 2, 9, 9, 2]
    assert sample.top.tail_T.tolist() == [8, 2, 9, 9, 2]


def test_turns_split_where_the_prompt_does_not_begin_with_the_turn_before() -> None:
    samples = make(answered(stored((5, 6), (8, 2)), stored((5, 6, 8, 7), (9, 2))))
    assert [(sample.ids_L.tolist(), scored_ids(sample)) for sample in samples] == [
        ([5, 6, 8, 2], [8, 2]),
        ([5, 6, 8, 7, 9, 2], [9, 2]),
    ]


def say(*texts: str) -> AnsweredRecord:
    """Return a conversation whose replies are text alone."""
    messages = (Message("system", "Be brief."), ASK, THANK)
    return answered(*(Turn((), (), text, "stop") for text in texts), messages=messages)


def test_rendered_conversation_is_one_sample_with_both_replies_scored(chat: ChatFormat) -> None:
    (sample,) = make(say("On its way.", "Paid."), chat=chat)
    assert chat.tokenizer.decode(sample.ids_L.tolist()) == (
        "<bos><system>Be brief.<end><user>Where is my parcel?<end><assistant>On its way.<end>"
        "<user>Thanks, and the bill?<end><assistant>Paid.<end>"
    )
    assert chat.tokenizer.decode(scored_ids(sample)) == "On its way.<end>Paid.<end>"


def test_template_that_rewrites_history_gives_a_sample_per_turn(chat: ChatFormat) -> None:
    chat.tokenizer.chat_template = (
        "{{ '<bos>' }}{% for message in messages %}{% if message['role'] != 'assistant' %}"
        "{{ '<user>' + message['content'] + '<end>' }}{% endif %}{% endfor %}{{ '<assistant>' }}"
    )
    samples = make(say("On its way.", "Paid."), chat=chat)
    assert [chat.tokenizer.decode(scored_ids(sample)) for sample in samples] == ["On its way.<end>", "Paid.<end>"]


def test_stored_ids_are_used_even_where_the_tokenizer_would_choose_others(chat: ChatFormat) -> None:
    letters = [chat.tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "app.fix"]
    assert letters != chat.tokenizer.encode("app.fix", add_special_tokens=False)
    completion = (*letters, chat.stop_ids[0])
    (sample,) = make(answered(Turn((1, 2), completion, "app.fix", "stop", top_of(completion))), chat=chat)
    assert scored_ids(sample) == list(completion) == sample.top.ids_TK[:, 0].tolist()


def test_ids_of_another_tokenizer_are_rendered_again_and_lose_their_distribution(chat: ChatFormat) -> None:
    turn = dataclasses.replace(stored((900, 901), (902, 903)), text="app.fix")
    (sample,) = make(answered(turn), chat=chat, form="Text")
    assert chat.tokenizer.decode(scored_ids(sample)) == "app.fix<end>"
    assert sample.top is None


@pytest.mark.parametrize("known", [(True, False), (False, True), (False, False)])
def test_a_turn_without_logprobs_leaves_the_others_theirs(known: tuple[bool, bool]) -> None:
    first, second = (stored((5,), (8, 2), known=known[0]), stored((5, 8, 2, 6), (9, 2), known=known[1]))
    (sample,) = make(answered(first, second))
    assert sample.known_N.tolist() == [known[0], known[0], known[1], known[1]]
    if not any(known):
        assert sample.top is None
        return
    assert sample.top.tail_T.tolist() == [8 * known[0], 2 * known[0], 9 * known[1], 2 * known[1]]
    batch = make_batch([sample], device=torch.device("cpu"))
    assert batch.has_top_N.tolist() == sample.known_N.tolist(), "what is not known is learned from the text"


def test_overlong_samples_are_dropped_and_counted() -> None:
    answers = [answered(stored((5,) * length, (8, 2), known=length > 1)) for length in (1, 2, 3, 9)]
    counts = Counts()
    samples = list(make_samples(answers, rendering=Rendering(UNUSED, "Generated"), max_length=4, counts=counts))
    assert [len(sample.ids_L) for sample in samples] == [3, 4]
    assert counts == Counts(samples=2, overlong=2, without_logprobs=1)


ids = st.lists(st.integers(3, 90), min_size=1, max_size=5).map(tuple)


@given(st.lists(st.tuples(st.booleans(), ids, ids), min_size=1, max_size=5))
def test_scored_ids_are_the_completions_in_order_each_with_its_distribution(
    plan: list[tuple[bool, tuple[int, ...], tuple[int, ...]]],
) -> None:
    turns: list[Turn] = []
    for continues, asked, completion in plan:
        before = turns[-1].prompt_ids + turns[-1].completion_ids if continues and turns else (1,)
        turns.append(stored(before + asked, completion))
    samples = make(answered(*turns))
    scored = [token for sample in samples for token in scored_ids(sample)]
    assert scored == [token for turn in turns for token in turn.completion_ids]
    assert len(samples) <= 1 + sum(not continues for continues, _, _ in plan[1:])
    batch = make_batch(samples, device=torch.device("cpu"))
    assert batch.targets_N.tolist() == batch.top_ids_NK[:, 0].tolist() == batch.tail_N.int().tolist() == scored
