"""Chat formats: which ids ask for a reply, which ids a reply has, and which ids end one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import InvalidModel
from kubedistill_runtime.chat import ChatFormat, load_chat_format, load_stop_ids
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message
from workshop import QUICKSTART

AT = "spec.student.model.source"
PAD, BOS, USER, ASSISTANT, END, SYSTEM = range(6)
TALK = [Message("system", "Be brief."), Message("user", "Where is it?"), Message("assistant", "In the post.")]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "model"
    shutil.copytree(QUICKSTART / "student", folder)
    return Model("student", folder, "digest", 0, json.loads((folder / "config.json").read_text()))


def edit(path: Path, **values: Any) -> None:
    """Set values of a JSON file; None removes one."""
    merged = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in merged.items() if value is not None}))


def test_a_prompt_is_all_messages_and_the_start_of_a_reply(chat: ChatFormat) -> None:
    ids = chat.prompt_ids(TALK[:2])
    special = [token for token in ids if token <= SYSTEM]
    assert special == [BOS, SYSTEM, END, USER, END, ASSISTANT]
    assert chat.tokenizer.decode(ids) == "<bos><system>Be brief.<end><user>Where is it?<end><assistant>"


def test_a_reply_ends_with_the_stop_token_and_reads_without_it(chat: ChatFormat) -> None:
    ids = chat.reply_ids("In the post.")
    assert ids[-1] == END
    assert END not in ids[:-1]
    assert chat.text(ids) == "In the post."


def test_the_next_prompt_goes_on_where_the_reply_ended(chat: ChatFormat) -> None:
    """Turns of a conversation share a sample only if this holds."""
    said = chat.prompt_ids(TALK[:2]) + chat.reply_ids(TALK[2].content)
    assert chat.prompt_ids([*TALK, Message("user", "Thanks.")])[: len(said)] == said


@pytest.mark.parametrize(
    ("generation", "config", "stop_ids"),
    [
        (4, 9, (4,)),
        ([128001, 128008, 128009], 9, (128001, 128008, 128009)),
        (None, 9, (9,)),
        (None, [9, 10], (9, 10)),
        (0, 9, (0,)),
        (None, None, ()),
    ],
)
def test_stop_ids_are_those_of_generation_and_else_of_the_config(
    generation: Any, config: Any, stop_ids: tuple[int, ...], model: Model
) -> None:
    edit(model.path / "generation_config.json", eos_token_id=generation)
    changed = Model(model.source, model.path, model.digest, 0, {"eos_token_id": config})
    assert load_stop_ids(changed) == stop_ids


@pytest.mark.parametrize("written", ["null", None])
def test_a_generation_config_that_names_none_leaves_it_to_the_config(written: str | None, model: Model) -> None:
    path = model.path / "generation_config.json"
    if written is None:
        path.unlink()
    else:
        path.write_text('{"eos_token_id": null}')
    assert load_stop_ids(model) == (END,)


def test_the_first_of_several_stop_ids_ends_a_reply_that_is_given(model: Model) -> None:
    edit(model.path / "generation_config.json", eos_token_id=[5, 4])
    assert load_chat_format(model, at=AT).reply_ids("Yes")[-1] == 5


def test_a_broken_generation_config_is_an_invalid_model(model: Model) -> None:
    (model.path / "generation_config.json").write_text("{")
    with pytest.raises(InvalidModel, match=r"^student: .*generation_config.json is not JSON .* Mend or remove it"):
        load_stop_ids(model)


def test_a_checkpoint_without_a_template_is_refused(model: Model) -> None:
    edit(model.path / "tokenizer_config.json", chat_template=None)
    with pytest.raises(InvalidModel, match=rf"^{AT}: .* has no chat template. Use an instruction-tuned checkpoint"):
        load_chat_format(model, at=AT)


def test_a_checkpoint_without_a_stop_token_is_refused(model: Model) -> None:
    edit(model.path / "generation_config.json", eos_token_id=None)
    with pytest.raises(InvalidModel, match=rf"^{AT}: .* names no end-of-sequence token. Set eos_token_id"):
        load_chat_format(Model(model.source, model.path, model.digest, 0, {}), at=AT)


def test_messages_that_the_template_refuses_are_said_with_its_own_words(chat: ChatFormat) -> None:
    with pytest.raises(InvalidModel) as refused:
        chat.prompt_ids([Message("user", "Hello"), Message("judge", "Guilty")])
    assert "refuses the roles user, judge (The role judge is unknown" in refused.value.problem
    assert "systemPrompt" in refused.value.fix
