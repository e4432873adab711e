"""The shipped teacher and student, loaded by transformers."""

import json
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from generator.fragments import Pool
from generator.messages import Message, generate_messages
from generator.vocabulary import load_vocabulary
from pretraining.scoring import Score, score_model

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
MODELS = ("teacher", "student")
FRESH_SEED = 5  # no model was trained or tuned on it
CONVERSATION = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "The late van came up."},
    {"role": "assistant", "content": "delivery.fix"},
    {"role": "user", "content": "Über ümläuts, 日本語 and the  spaces?"},
    {"role": "assistant", "content": "app.ask"},
]


@cache
def load_tokenizer(name: str):
    return AutoTokenizer.from_pretrained(QUICKSTART / name)


@cache
def load_model(name: str):
    return AutoModelForCausalLM.from_pretrained(QUICKSTART / name, dtype=torch.float32)


def render(turns: list[dict[str, str]], *, prompt: bool = False) -> list[int]:
    return load_tokenizer("teacher").apply_chat_template(turns, add_generation_prompt=prompt, return_dict=False)


def score(name: str) -> Score:
    vocabulary = load_vocabulary()
    messages: list[Message] = list(islice(generate_messages(vocabulary, pool=Pool.TEST, seed=FRESH_SEED), 300))
    return score_model(load_model(name), tokenizer=load_tokenizer(name), messages=messages, vocabulary=vocabulary)


def test_both_models_take_less_than_6_megabytes():
    files = [file for name in MODELS for file in (QUICKSTART / name).rglob("*")]
    assert sum(file.stat().st_size for file in files) < 6_000_000


@pytest.mark.parametrize(("name", "parameters"), [("teacher", 2_558_400), ("student", 295_392)])
def test_weights_are_bfloat16(name: str, parameters: int):
    assert load_model(name).num_parameters() == parameters
    assert json.loads((QUICKSTART / name / "config.json").read_text())["dtype"] == "bfloat16"
    with safe_open(QUICKSTART / name / "model.safetensors", framework="pt") as weights:
        assert {weights.get_tensor(key).dtype for key in weights.keys()} == {torch.bfloat16}  # noqa: SIM118


@pytest.mark.parametrize("name", MODELS)
def test_end_token_ends_a_reply(name: str):
    tokenizer, model = load_tokenizer(name), load_model(name)
    assert tokenizer.eos_token == "<end>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id


def test_teacher_and_student_share_a_tokenizer():
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (QUICKSTART / "teacher" / file).read_bytes() == (QUICKSTART / "student" / file).read_bytes()


@pytest.mark.parametrize("turns", range(1, len(CONVERSATION) + 1))
def test_chat_template_preserves_prefixes(turns: int):
    whole = render(CONVERSATION)
    part = render(CONVERSATION[:turns])
    assert whole[: len(part)] == part
    if turns < len(CONVERSATION) and CONVERSATION[turns]["role"] == "assistant":
        prompt = render(CONVERSATION[:turns], prompt=True)
        assert whole[: len(prompt)] == prompt


def test_chat_template_reads_as_written():
    text = load_tokenizer("teacher").decode(render(CONVERSATION[:3]))
    assert text == "<bos><system>Be kind.<end><user>The late van came up.<end><assistant>delivery.fix<end>"


def test_chat_template_refuses_unknown_roles():
    with pytest.raises(Exception, match="tool is unknown: use system, user or assistant"):
        render([{"role": "tool", "content": "42"}])


def test_an_answer_takes_three_tokens_and_the_end():
    tokenizer = load_tokenizer("teacher")
    assert {len(tokenizer.encode(label)) for label in load_vocabulary().labels} == {3}


@pytest.mark.parametrize("name", ["quickstart", "conversation", "qa", "math", "summarization"])
def test_prompts_leave_room_for_the_answer(name: str):
    lines = [line for path in (QUICKSTART.parent / name / "data").iterdir() for line in path.read_text().splitlines()]
    assert max(len(render(json.loads(line)["messages"], prompt=True)) for line in lines) <= 120


def test_teacher_knows_the_task():
    teacher = score("teacher")
    assert teacher.accuracy >= 0.86
    assert teacher.valid == 1


def test_student_knows_the_form_but_little_of_the_task():
    student = score("student")
    assert student.valid >= 0.99
    assert student.accuracy <= 0.6
