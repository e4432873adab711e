"""What the report says of servers that would run the exported student otherwise than it was evaluated."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubedistill_runtime.evaluation.served_defaults import find_served_defaults
from kubedistill_runtime.models import Model
from support.messages import CheckMessage

LONG_ROPE = {
    "max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "rope_scaling": {"type": "longrope"},
}  # fmt: skip


def notes_of(folder: Path, *, generation: Any = None, context: int = 4096, **config: Any) -> list[str]:
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return find_served_defaults(Model("student", folder, "digest", 0, config), context=context)


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        pytest.param({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, ["top_p 0.9"], id="Llama"),
        pytest.param(
            {"do_sample": True, "temperature": 0.7, "top_k": 20, "repetition_penalty": 1.1},
            ["top_k 20", "repetition_penalty 1.1", "repetition_penalty 1 with"],
            id="Qwen 2.5",
        ),
        pytest.param({"do_sample": False, "temperature": 1.0}, ["temperature 1.0"], id="vLLM reads no do_sample"),
        pytest.param({"do_sample": True}, ["do_sample true"], id="sampling alone"),
    ],
)
def test_a_generation_config_that_samples_is_named_with_the_request_that_does_not(
    generation: dict[str, Any], said: list[str], tmp_path: Path, check_message: CheckMessage
) -> None:
    (note,) = notes_of(tmp_path, generation=generation)
    check_message(note, *said, "temperature 0")


@pytest.mark.parametrize(
    "generation",
    [
        None,
        {},
        {"eos_token_id": [1, 2], "max_length": 4096},
        {"do_sample": False, "temperature": 0.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0},
        {"temperature": None},
    ],
)
def test_a_generation_config_that_is_greedy_needs_no_note(generation: dict[str, Any] | None, tmp_path: Path) -> None:
    assert notes_of(tmp_path, generation=generation) == []


def test_a_longrope_student_names_the_length_at_which_it_is_the_one_that_was_judged(
    tmp_path: Path, check_message: CheckMessage
) -> None:
    (note,) = notes_of(tmp_path, **LONG_ROPE)
    check_message(note, "4,096", "--max-model-len 4096")
    assert notes_of(tmp_path, context=8192, **LONG_ROPE) == [], "it was judged with the frequencies that servers use"
    assert notes_of(tmp_path, max_position_embeddings=131072) == []
