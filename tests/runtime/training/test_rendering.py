"""Rendering: for any chat template, what is scored is the reply as that template writes it, and its stop token.

Shapes: T ids of a reply as it was given, N ids as it is taught, K alternatives.
"""

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubedistill_runtime.answers import NO_TOKEN, Answer, AnsweredRecord, TopK, Turn
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.training.rendering import Rendering, move_top
from kubedistill_runtime.training.samples import Counts, Sample, make_samples
from support.chat_models import FAMILIES, Family, write_chat_model

SPECIAL = ("<bos>", "<eos>", "<eot>", "<user>", "<bot>", "<sys>")


@st.composite
def families(draw: st.DrawFn) -> Family:
    """Chat templates out of a small grammar: roles, system or none, bos, ends, generation prompt, thinking tags."""
    bos = draw(st.sampled_from(["{{ bos_token }}", ""]))
    end = draw(st.sampled_from(["<eot>", "<eos>", ""]))
    trailing = draw(st.sampled_from(["", "\n"]))
    trim = draw(st.sampled_from([" | trim", ""]))
    thinks = draw(st.sampled_from(["none", "in the last reply", "in the generation prompt"]))
    after_role = draw(st.sampled_from(["", "\n", ": "]))
    thought = "{% if loop.last %}<think>\n\n</think>\n\n{% endif %}" if thinks == "in the last reply" else ""
    opened = "<think>\n" if thinks == "in the generation prompt" else ""
    answer = "(message['content'].split('</think>')[-1])" if thinks != "none" else "message['content']"
    template = (
        bos + "{% for message in messages %}"
        "{% if message['role'] == 'assistant' %}<bot>" + after_role + thought + "{{ " + answer + trim + " }}"
        "{% elif message['role'] == 'user' %}<user>" + after_role + "{{ message['content']" + trim + " }}"
        "{% else %}<sys>" + after_role + "{{ message['content'] }}{% endif %}" + end + trailing + "{% endfor %}"
        "{% if add_generation_prompt %}<bot>" + after_role + opened + "{% endif %}"
    )
    return Family(
        template=template.replace("\n", "{{ '\\n' }}"),
        special=SPECIAL,
        bos="<bos>",
        eos="<eos>",
        stops=draw(st.permutations(["<eos>", "<eot>"])),
        end=end or "<eos>",
        plain=("<think>", "</think>"),
        sentencepiece=draw(st.booleans()),
        dummy_prefix=draw(st.booleans()),
    )


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=12).filter(str.strip)
WORDS = st.one_of(TEXTS, st.sampled_from(["the end <eot>", "<user>", "a\nb", " spaced ", "he said: the"]))
CONVERSATIONS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3)


def scored(sample: Sample) -> list[int]:
    return sample.ids_L[sample.scored_L].tolist()


def check_turn(chat: ChatFormat, said: list[Message], prompt: list[int], reply: list[int]) -> None:
    """The reply is what the template writes between its prompt and the stop token, and never more."""
    asked = chat.render(said[:-1], asking=True)
    whole = chat.render(said, asking=False)
    assert reply[-1] == chat.end_id
    assert chat.end_id not in reply[:-1]
    assert chat.text(reply).strip() == said[-1].content.strip()
    if whole.startswith(asked) and chat.tokenizer.decode([chat.end_id]) in whole[len(asked) :]:
        written = chat._encode(said, whole, asking=False)
        if written[: len(prompt)] == prompt:
            assert written[: len(prompt + reply)] == prompt + reply


@settings(max_examples=150)
@given(family=families(), turns=CONVERSATIONS, system=st.none() | WORDS)
def test_the_rendered_reply_and_its_stop_token_are_scored(
    family: Family, turns: list[tuple[str, str]], system: str | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chat = load_chat_format(write_chat_model(Path(folder), family), at="student")
    messages = [Message("system", system)] if system else []
    record = Record("r", (*messages, *(Message("user", asked) for asked, _ in turns)))
    answer = Answer("k", tuple(Turn((), (), reply, "stop") for _, reply in turns))
    rendering = Rendering(chat, "Text")
    counts = Counts()
    samples = list(
        make_samples([AnsweredRecord(record, 0, answer)], rendering=rendering, max_length=9999, counts=counts)
    )
    spans = list(rendering.spans(AnsweredRecord(record, 0, answer)))
    assert len(spans) == len(turns)
    for span, (asked, reply) in zip(spans, turns, strict=True):
        messages = [*messages, Message("user", asked)]
        assert list(span.prompt) == chat.prompt_ids(messages)
        messages = [*messages, Message("assistant", reply)]
        check_turn(chat, messages, list(span.prompt), list(span.completion))
    assert [one for sample in samples for one in scored(sample)] == [one for span in spans for one in span.completion]
    # One sample, unless the template rewrites what was said: then each such turn is a sample of its own.
    rewritten = sum(
        second.prompt[: len(first.prompt + first.completion)] != first.prompt + first.completion
        for first, second in itertools.pairwise(spans)
    )
    assert counts == Counts(1 + rewritten, without_logprobs=1 + rewritten, split=int(rewritten > 0))


def top_of(*rows: dict[int, float]) -> TopK:
    """Return distributions by id; the rest of each is in its tail."""
    k = max(map(len, rows))
    ids, logprobs = np.full((len(rows), k), 90, np.int32), np.full((len(rows), k), -np.inf, np.float16)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = list(row)
        logprobs[place, : len(row)] = np.log(list(row.values()))
    return TopK(ids, logprobs, np.array([1 - sum(row.values()) for row in rows], np.float32))


def rows_of(top: TopK) -> list[dict[int, float]]:
    """Return what move_top left of each distribution."""
    return [
        {
            int(one): round(float(np.exp(np.float64(logprob))), 3)
            for one, logprob in zip(*row, strict=True)
            if one != NO_TOKEN and np.isfinite(logprob)
        }
        for row in zip(top.ids_TK, top.logprobs_TK, strict=True)
    ]


STOPS, END = frozenset({1, 2}), 9
FIVE, SIX, STOP = {5: 0.5, 7: 0.25}, {6: 0.75}, {1: 0.5, 2: 0.25, 5: 0.125}
MOVES: dict[str, tuple[list[int], list[int], list[bool], list[dict[int, float]]]] = {
    "only the end is another": ([5, 6, 1], [5, 6, 9], [True] * 3, [FIVE, SIX, {9: 0.75, 5: 0.125}]),
    "an empty thought comes before": (
        [5, 6, 2], [8, 8, 5, 6, 9], [False, False, True, True, True], [FIVE, SIX, {9: 0.75, 5: 0.125}],
    ),
    "a thought is left out": ([5, 6, 1], [6, 9], [True, True], [SIX, {9: 0.75, 5: 0.125}]),
    "a trailing space is trimmed": ([5, 6, 1], [5, 9], [True, True], [FIVE, {9: 0.75, 5: 0.125}]),
    "a piece in the middle is another": (
        [5, 6, 1], [5, 8, 8, 9], [True, False, False, True], [FIVE, {9: 0.75, 5: 0.125}],
    ),
    "nothing but the end": ([1], [9], [True], [{9: 0.75, 5: 0.125}]),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_a_distribution_moves_to_the_position_of_the_same_id(name: str) -> None:
    said, shown, known, rows = MOVES[name]
    by_id = {5: FIVE, 6: SIX, 1: STOP, 2: STOP}
    top, known_N = move_top(top_of(*(by_id[one] for one in said)), said, shown, stop_ids=STOPS, end_id=END)
    assert known_N.tolist() == known
    assert [row for row, there in zip(rows_of(top), known, strict=True) if there] == rows


def test_an_end_whose_distribution_is_not_known_moves_as_unknown() -> None:
    top = top_of(FIVE, SIX, STOP)
    top.tail_T[-1] = np.nan
    moved, known_N = move_top(top, [5, 6, 1], [5, 6, 9], stop_ids=STOPS, end_id=END)
    assert known_N.tolist() == [True, True, False]
    assert np.isfinite(moved.tail_T).all(), "a batch computes with all rows"
    assert rows_of(moved)[:2] == [FIVE, SIX]


def test_a_reply_whose_prompt_ids_are_not_known_is_rendered(chatml: ChatFormat) -> None:
    messages = [Message("user", "hello")]
    prompt, completion = chatml.turn_ids(messages, "yes")
    top = top_of(*({one: 0.5} for one in completion))
    for prompt_ids in ((), tuple(prompt)):
        turn = Turn(prompt_ids, tuple(completion), "yes", "stop", top)
        answered = AnsweredRecord(Record("r", tuple(messages)), 0, Answer("k", (turn,)))
        (span,) = Rendering(chatml, "Generated", frozenset(chatml.stop_ids)).spans(answered)
        assert (list(span.prompt), list(span.completion)) == (prompt, completion)
        assert span.top is not None
        assert span.top.ids_TK.tolist() == top.ids_TK.tolist()


@given(st.lists(st.integers(3, 8), max_size=6), st.lists(st.integers(3, 8), max_size=6))
def test_a_moved_distribution_stands_at_its_own_id_with_its_own_mass(said: list[int], shown: list[int]) -> None:
    given_top = top_of(*({one: 0.5, 2: 0.125} for one in said), {1: 0.5, 2: 0.25})
    top, known_N = move_top(given_top, [*said, 1], [*shown, END], stop_ids=STOPS, end_id=END)
    assert known_N[-1]
    assert known_N.all() == (said == shown) or len(shown) < len(said)
    for row, target, known in zip(rows_of(top), [*shown, END], known_N, strict=True):
        assert not known or row == ({target: 0.5, END: 0.125} if target != END else {END: 0.75})
    assert top.tail_T[-1] == pytest.approx(0.25)


def talk(*texts: str) -> tuple[Message, ...]:
    roles = ("user", "assistant")
    return tuple(Message(roles[place % 2], text) for place, text in enumerate(texts))


@pytest.fixture
def chatml(tmp_path: Path) -> ChatFormat:
    return load_chat_format(write_chat_model(tmp_path / "chatml", FAMILIES["qwen-2.5"]), at="student")


def taught(record: Record, chat: ChatFormat, *, every_turn: bool = False) -> list[tuple[str, str]]:
    """Return what is read and what is scored, by sample."""
    answers = given_answers([record], every_turn=every_turn)
    samples = list(make_samples(answers, rendering=Rendering(chat, "Text"), max_length=9999, counts=Counts()))
    decode = chat.tokenizer.decode
    return [(decode(sample.ids_L.tolist()), decode(scored(sample))) for sample in samples]


def test_a_given_answer_follows_the_last_user_turn_and_earlier_turns_are_context(chatml: ChatFormat) -> None:
    record = Record("r", talk("FIRST", "in between", "SECOND"), references=("to the second",))
    ((whole, target),) = taught(record, chatml)
    assert target == "to the second<|im_end|>"
    order = [whole.index(text) for text in ("FIRST", "in between", "SECOND", "to the second")]
    assert order == sorted(order)


def test_with_every_turn_each_assistant_turn_is_a_target(chatml: ChatFormat) -> None:
    record = Record("r", talk("FIRST", "in between", "SECOND"), references=("to the second",))
    ((_, target),) = taught(record, chatml, every_turn=True)
    assert target == "in between<|im_end|>to the second<|im_end|>"


def kept_as_context(record: Record, *places: int) -> Record:
    """Return the record with the turns at some places not to be learned."""
    messages = [replace(message, target=place not in places) for place, message in enumerate(record.messages)]
    return replace(record, messages=tuple(messages))


FOUR = Record("r", talk("ONE", "first", "TWO", "second", "THREE", "third", "FOUR"), references=("fourth",))


@pytest.mark.parametrize(
    ("places", "learned"),
    [
        ((1,), ["second", "third", "fourth"]),
        ((3,), ["first", "third", "fourth"]),
        ((5,), ["first", "second", "fourth"]),
        ((1, 3, 5), ["fourth"]),
    ],
)
def test_a_turn_that_is_not_a_target_is_read_in_its_place_and_never_scored(
    places: tuple[int, ...], learned: list[str], chatml: ChatFormat
) -> None:
    ((whole, target),) = taught(kept_as_context(FOUR, *places), chatml, every_turn=True)
    assert target == "".join(f"{text}<|im_end|>" for text in learned)
    ((every, _),) = taught(FOUR, chatml, every_turn=True)
    assert whole == every


def test_a_turn_that_is_not_a_target_is_context_where_only_the_last_is_learned(chatml: ChatFormat) -> None:
    assert taught(kept_as_context(FOUR, 1, 5), chatml) == taught(FOUR, chatml)


def test_an_answer_that_a_tokenizer_cannot_spell_is_left_out_and_counted(tmp_path: Path) -> None:
    model = write_chat_model(tmp_path, FAMILIES["qwen-2.5"])
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    values["pre_tokenizer"] = {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    chat = load_chat_format(model, at="student")
    records = [Record(name, talk("ask"), references=(name,)) for name in ("yes", "say <|im_end|> now", "no")]
    counts = Counts()
    rendering = Rendering(chat, "Text")
    samples = list(make_samples(given_answers(records), rendering=rendering, max_length=999, counts=counts))
    assert (len(samples), counts.samples, counts.unspelled) == (2, 2, 1)


def test_a_template_that_drops_thoughts_makes_each_turn_a_sample_of_its_own(tmp_path: Path) -> None:
    chat = load_chat_format(write_chat_model(tmp_path, FAMILIES["qwen-3"]), at="student")
    record = Record("r", talk("one", "two", "three"), references=("four",))
    found = taught(record, chat, every_turn=True)
    assert [target for _, target in found] == [
        "<think>\n\n</think>\n\ntwo<|im_end|>",
        "<think>\n\n</think>\n\nfour<|im_end|>",
    ]


def test_a_teachers_reasoning_is_not_taught_and_distributions_belong_to_the_answer(tmp_path: Path) -> None:
    chat = load_chat_format(write_chat_model(tmp_path, FAMILIES["qwen-3"]), at="student")
    said = (*chat.tokenizer.encode("<think>\nhm\n</think>\n\nyes"), chat.end_id)
    top = top_of(*({one: 0.5} for one in said))
    turn = Turn(tuple(chat.prompt_ids(talk("ask"))), said, chat.text(said), "stop", top)
    answered = AnsweredRecord(Record("r", talk("ask")), 0, Answer("k", (turn,)))
    stops = frozenset(chat.stop_ids)
    rendering = Rendering(chat, "Generated", stops)
    (sample,) = make_samples([answered], rendering=rendering, max_length=1000, counts=Counts())
    assert chat.tokenizer.decode(scored(sample)) == "<think>\n\n</think>\n\nyes<|im_end|>"
    assert sample.top is not None
    known = sample.top.ids_TK[sample.known_N, 0].tolist()
    assert known[-3:] == [*said[-3:]]
    assert json.dumps(sample.known_N.tolist()[-4:]) == "[true, true, true, true]"


def test_a_teachers_reasoning_is_taught_as_it_was_generated_if_it_is_kept(tmp_path: Path) -> None:
    chat = load_chat_format(write_chat_model(tmp_path, FAMILIES["qwen-3"]), at="student")
    said = (*chat.tokenizer.encode("<think>\nhm\n</think>\n\nyes"), chat.end_id)
    top = top_of(*({one: 0.5} for one in said))
    turn = Turn(tuple(chat.prompt_ids(talk("ask"))), said, chat.text(said), "stop", top)
    answered = AnsweredRecord(Record("r", talk("ask")), 0, Answer("k", (turn,)))
    rendering = Rendering(chat, "Generated", frozenset(chat.stop_ids), thinks=True)
    (sample,) = make_samples([answered], rendering=rendering, max_length=1000, counts=Counts())
    assert tuple(scored(sample)) == said
    assert sample.known_N.all()
