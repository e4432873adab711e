"""Preview: a person sees exactly what the student would train on."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubedistill.contract import JobRef, RunRef, StageJob
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.models import Model
from kubedistill_runtime.preview import preview
from kubedistill_runtime.storage.store import open_store

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"
RECORDS = [
    {"id": "a", "messages": [{"role": "user", "content": "The ledger is wrong."}], "reference": "billing.fix"},
    {"id": "b", "prompt": "Wo ist mein Paket? 📦", "reference": ["billing.ask", "billing.fix"]},
    {"id": "c", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "No reference."}]},
    {"id": "d", "prompt": "the fourth record", "reference": "billing.ask"},
]


def show(tmp_path: Path, *, records: list[dict[str, Any]] = RECORDS, max_length: int = 128, **task: Any) -> Any:
    data = tmp_path / "train.jsonl"
    data.write_text("\n".join(json.dumps(record) for record in records))
    spec = Spec.model_validate_json(
        json.dumps(
            {
                "task": {"type": "Classification", "labels": ["billing.ask", "billing.fix"], **task},
                "teachers": [{"name": "main", "model": {"source": str(QUICKSTART / "teacher")}}],
                "student": {"model": {"source": str(QUICKSTART / "student")}},
                "data": {"train": {"uri": data.name}},
                "training": {"maxLength": max_length},
            }
        )
    )
    job = StageJob(
        job=JobRef(namespace="default", name="j"),
        run=RunRef(id="local", digest="d"),
        stage="Prepare",
        attempt=1,
        token="t",
        frozen_spec=spec_values(spec),
        store="",
        data_root=tmp_path.as_uri(),
    )
    return preview(job, store=open_store(str(tmp_path / "store"))).model_dump(by_alias=True)


@pytest.mark.parametrize(
    ("record", "prompt", "answer"),
    [
        (0, "<bos><user>The ledger is wrong.<end><assistant>", "billing.fix"),
        (1, "<bos><user>Wo ist mein Paket? 📦<end><assistant>", "billing.ask"),
        (2, "<bos><system>Be brief.<end><user>No reference.<end><assistant>", "(the teacher's answer)"),
    ],
)
def test_pieces_join_to_the_rendered_sample_with_a_scored_answer_and_end_token(
    record: int, prompt: str, answer: str, tmp_path: Path
) -> None:
    shown = show(tmp_path)["records"][record]
    pieces = shown["pieces"]
    assert shown["id"] == RECORDS[record]["id"]
    assert "".join(piece["text"] for piece in pieces) == f"{prompt}{answer}<end>"
    assert [(piece["text"], piece["end"]) for piece in pieces if piece["scored"]] == [(answer, False), ("<end>", True)]
    tokenizer = load_chat_format(Model("s", QUICKSTART / "student", "d", 0, {}), at="").tokenizer
    expected = len(tokenizer.encode(f"{prompt}{answer}<end>", add_special_tokens=False))
    assert (shown["tokens"], shown["overlong"]) == (expected, 0)


def test_preview_shows_three_records_and_says_which_objective_it_will_be(tmp_path: Path) -> None:
    shown = show(tmp_path)
    assert [record["id"] for record in shown["records"]] == ["a", "b", "c"]
    assert shown["objective"] == "CachedLogits"
    assert shown["objectiveReason"] == "teacher and student share a tokenizer"


def test_system_prompt_of_the_task_replaces_the_records_own(tmp_path: Path) -> None:
    shown = show(tmp_path, systemPrompt="Route it.")["records"]
    texts = ["".join(piece["text"] for piece in record["pieces"]) for record in shown]
    assert all(text.startswith("<bos><system>Route it.<end><user>") for text in texts)


def test_each_end_token_stands_alone(tmp_path: Path) -> None:
    """The token's own text in a prompt is text, and a person should see that it ends nothing."""
    (shown,) = show(tmp_path, records=[{"id": "odd", "prompt": "a<end><end>b", "reference": "billing.ask"}])["records"]
    texts = [(piece["text"], piece["scored"]) for piece in shown["pieces"] if piece["end"]]
    assert texts == [("<end>", False), ("<end>", True)]
    assert "".join(piece["text"] for piece in shown["pieces"]).startswith("<bos><user>a<end><end>b<end>")


def test_overlong_record_is_shown_as_one(tmp_path: Path) -> None:
    (shown,) = show(tmp_path, records=[{"id": "long", "prompt": "word " * 50}], max_length=16)["records"]
    assert (shown["pieces"], shown["tokens"], shown["overlong"]) == ([], 0, 1)
