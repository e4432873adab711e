"""Curate: every rejection has a reason and is kept with it, and too few kept answers end the job."""

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import EngineLost, LowYield
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.checks.yields import check_kept
from kubedistill_runtime.curation import dataset as dataset_module
from kubedistill_runtime.curation.dataset import read_dataset
from kubedistill_runtime.records import Message
from kubedistill_runtime.stages import curate
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.sample_store import SampleStore, open_samples
from support.job_folder import QUICKSTART, write_records
from support.messages import CheckMessage
from support.stage_runner import StageRunner

MADE = ("dataset", "samples")
PHRASE = "and so it is my good friend "


def rejected(runner: StageRunner) -> list[dict[str, Any]]:
    lines = (runner.artifact("dataset") / "rejected.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_all_good_answers_are_kept(runner: StageRunner) -> None:
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert summary.to_values() == {
        "asked": 40,
        "kept": 40,
        "rejected": {},
        "keepRatio": 1.0,
        "labels": {"yes": 40},
        "distinctPairs": None,
        "samples": 40,
        "overlong": 0,
        "withoutLogprobs": 0,
        "split": 0,
        "unspelled": 0,
        "validation": {"samples": 8, "overlong": 0},
    }
    assert (40, 40, "answers", {"kept": 40}) in [(one.done, one.total, one.unit, one.figures) for one in runner.said]
    assert rejected(runner) == []
    dataset = list(read_dataset(runner.job_folder.store, runner.job_folder.keys()["dataset"]))
    assert [one.record.id for one in dataset] == [f"train-{number:06d}" for number in range(1, 41)]
    assert {one.answer.turns[0].text for one in dataset} == {"yes"}
    assert all(one.answer.turns[0].top is not None for one in dataset)


LABELS = {"type": "Classification", "labels": ["yes", "no"]}
REASONS: dict[str, tuple[dict[str, Any], Callable[[str], str]]] = {
    "WrongFormat": (LABELS, lambda text: "maybe"),
    "Empty": (LABELS, lambda text: " "),
    "Unfinished": ({"type": "Conversation"}, lambda text: PHRASE * 60),
    "Repetition": ({"type": "Conversation"}, lambda text: PHRASE * 10),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_bad_answer_is_rejected_and_kept_with_its_reason(reason: str, runner: StageRunner) -> None:
    task, bad = REASONS[reason]
    runner.job_folder.set("task", task)
    runner.job_folder.set("teachers.0.model.maxModelLen", 512)
    runner.job_folder.set("generation.maxTokens", 300)
    runner.says = lambda text: bad(text) if text.endswith(" 3") else "yes"
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert summary.rejected == {reason: 1}
    assert summary.keep_ratio == 39 / 40
    (one,) = rejected(runner)
    assert (one["id"], one["sample"], one["reason"]) == ("train-000004", 0, reason)
    assert len(one["texts"]) == 1


def test_what_the_engine_died_of_is_unanswered(runner: StageRunner) -> None:
    runner.engines.engine.deadly = tuple(runner.chat.prompt_ids([Message("user", "train asks 3")]))
    assert runner.run("Prepare", "Generate", "Curate").summary.rejected == {"Unanswered": 1}
    assert rejected(runner)[0]["texts"] == []


def test_draws_of_one_record_stay_as_often_as_they_were_drawn(runner: StageRunner) -> None:
    """The teacher says yes to two of three draws; a flat list of both answers would teach one half."""
    runner.job_folder.set("generation.samplesPerPrompt", 6)
    runner.job_folder.set("generation.temperature", 1.0)
    draws: Counter[str] = Counter()

    def reply(prompt: Sequence[int], seed: int) -> list[int]:
        text = "yes" if seed % 3 else "no"
        draws[text] += "train asks" in runner.chat.tokenizer.decode(list(prompt))
        ids: list[int] = runner.chat.tokenizer.encode(text, add_special_tokens=False)
        return ids

    runner.engines.engine.reply = reply
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert (summary.asked, summary.kept, summary.rejected) == (240, 240, {})
    kept = Counter(
        one.answer.turns[0].text for one in read_dataset(runner.job_folder.store, runner.job_folder.keys()["dataset"])
    )
    assert kept == draws
    assert min(draws.values()) > 40, "both answers are drawn"
    samples = open_samples(
        runner.job_folder.store, artifact_folder("samples", runner.job_folder.keys()["samples"]), "train"
    )
    assert len(samples) == 240, "and Train sees each of them"


def test_equal_records_are_kept_once_with_all_their_draws_and_count_once(runner: StageRunner) -> None:
    prompts = [f"train asks {number % 30}" for number in range(40)]
    write_records(runner.job_folder.root / "data" / "train.jsonl", prompts)
    runner.job_folder.set("generation.samplesPerPrompt", 3)
    runner.job_folder.set("curation.minKeepRatio", 0.75)
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert (summary.asked, summary.kept, summary.rejected) == (120, 90, {"Duplicate": 30})
    assert summary.keep_ratio == 0.75
    assert {one["id"] for one in rejected(runner)} == {f"train-{number:06d}" for number in range(31, 41)}


@pytest.mark.parametrize(("least", "fails"), [(0.75, False), (0.76, True), (0.0, False)])
def test_too_few_kept_prompts_end_the_job_with_the_reasons(
    least: float, *, fails: bool, runner: StageRunner, check_message: CheckMessage
) -> None:
    runner.job_folder.set("curation.minKeepRatio", least)
    runner.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) < 10 else "yes"
    runner.run("Prepare", "Generate")
    if not fails:
        assert runner.run("Curate").summary.keep_ratio == 0.75
        return
    with pytest.raises(LowYield) as low:
        runner.run("Curate")
    assert low.value.at == "spec.curation.minKeepRatio"
    check_message(low.value, "75.0%", "76.0%", 10, "WrongFormat", "rejected.jsonl")
    assert len(rejected(runner)) == 10, "the file that the message sends people to is there"
    assert not (runner.artifact("dataset") / "manifest.json").exists()
    assert not runner.artifact("samples").exists()


def test_a_job_with_a_higher_ratio_leaves_the_dataset_that_another_job_published(
    runner: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ratio is in no key, so two jobs may make one dataset at the same time."""
    runner.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) < 10 else "yes"
    runner.run("Prepare", "Generate")
    runner.job_folder.set("curation.minKeepRatio", 1.0)

    def check(figures: dict[str, Any], *, spec: Spec) -> None:
        monkeypatch.undo()
        runner.job_folder.set("curation.minKeepRatio", 0.1)
        runner.run("Curate")  # the other job's
        check_kept(figures, spec=spec)

    monkeypatch.setattr(curate, "check_kept", check)
    with pytest.raises(LowYield):
        runner.run("Curate")
    assert len(list(read_dataset(runner.job_folder.store, runner.job_folder.keys()["dataset"]))) == 30


def test_a_validation_answer_without_text_is_not_validated_on(runner: StageRunner) -> None:
    usual = runner.engines.engine.reply

    def reply(prompt: Sequence[int], seed: int) -> Sequence[int]:
        silent = "validation asks 1" in runner.chat.tokenizer.decode(list(prompt))
        return [] if silent else usual(prompt, seed)

    runner.engines.engine.reply = reply
    assert runner.run("Prepare", "Generate", "Curate").summary.validation.samples == 7


def test_given_answers_pass_the_same_filters(runner: StageRunner) -> None:
    runner.job_folder.set("data.train.answers", "Given")
    runner.run("Prepare", "Generate")
    train = tuple(runner.chat.prompt_ids([Message("user", "train asks 3")]))
    assert train not in runner.engines.engine.asked
    assert runner.run("Curate").summary.to_values() == {
        "asked": 40,
        "kept": 40,
        "rejected": {},
        "keepRatio": 1.0,
        "labels": {"yes": 40},
        "distinctPairs": None,
        "samples": 40,
        "overlong": 0,
        "withoutLogprobs": 40,
        "split": 0,
        "unspelled": 0,
        "validation": {"samples": 8, "overlong": 0},
    }


# Samples


def samples_of(runner: StageRunner, split: str = "train") -> SampleStore:
    return open_samples(runner.job_folder.store, artifact_folder("samples", runner.job_folder.keys()["samples"]), split)


def test_samples_are_the_ids_and_distributions_that_the_teacher_left(runner: StageRunner) -> None:
    runner.run("Prepare", "Generate", "Curate")
    dataset = read_dataset(runner.job_folder.store, runner.job_folder.keys()["dataset"])
    for sample, one in zip(samples_of(runner), dataset, strict=True):
        (turn,) = one.answer.turns
        assert sample.ids_L.tolist() == [*turn.prompt_ids, *turn.completion_ids]
        np.testing.assert_array_equal(sample.top.ids_TK, turn.top.ids_TK)
    assert len(samples_of(runner, "validation")) == 8


def tokens(runner: StageRunner, prompt: str) -> int:
    return len(runner.chat.prompt_ids([Message("user", prompt)]))


def test_samples_that_are_too_long_are_counted(runner: StageRunner) -> None:
    prompts = [f"train asks {'really ' * (12 if number % 2 else 0)}{number}" for number in range(40)]
    write_records(runner.job_folder.root / "data" / "train.jsonl", prompts)
    runner.job_folder.set("training.maxLength", min(tokens(runner, prompt) for prompt in prompts[1::2]))
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert (summary.kept, summary.samples, summary.overlong) == (40, 20, 20)


def test_where_no_sample_is_short_enough_the_job_ends(runner: StageRunner, check_message: CheckMessage) -> None:
    """Each prompt fits, and leaves room for one id of its answer; the answer has at least two."""
    word = "really " * 12
    prompts = [f"{word}{first}{second}" for first in "abcdefgh" for second in "abcde"]
    longest = max(tokens(runner, prompt) for prompt in prompts)
    write_records(runner.job_folder.root / "data" / "train.jsonl", [p for p in prompts if tokens(runner, p) == longest])
    runner.job_folder.set("training.maxLength", longest + 1)
    runner.run("Prepare", "Generate")
    with pytest.raises(LowYield) as low:
        runner.run("Curate")
    assert low.value.at == "spec.training.maxLength"
    check_message(low.value)
    assert (runner.artifact("dataset") / "manifest.json").exists(), "another maxLength needs no other dataset"
    assert not (runner.artifact("samples") / "manifest.json").exists()


def test_where_no_answer_is_kept_there_is_nothing_to_train_on(runner: StageRunner, check_message: CheckMessage) -> None:
    runner.job_folder.set("curation.minKeepRatio", 0.0)
    runner.says = lambda text: "maybe"
    runner.run("Prepare", "Generate")
    with pytest.raises(LowYield) as low:
        runner.run("Curate")
    assert low.value.at == "spec.curation.minKeepRatio"
    check_message(low.value)


def test_another_max_length_makes_samples_again_and_leaves_the_dataset(runner: StageRunner) -> None:
    runner.run("Prepare", "Generate", "Curate")
    before = {path.name: path.stat().st_mtime_ns for path in runner.artifact("dataset").iterdir()}
    runner.job_folder.set("training.maxLength", 32)
    assert runner.run("Curate").summary.samples == 40
    assert {path.name: path.stat().st_mtime_ns for path in runner.artifact("dataset").iterdir()} == before


def test_curate_again_writes_the_same_bytes(runner: StageRunner) -> None:
    runner.run("Prepare", "Generate", "Curate")

    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for name in MADE for path in runner.artifact(name).iterdir()}

    before = contents()
    for name in MADE:
        (runner.artifact(name) / "manifest.json").unlink()
    runner.run("Curate")
    assert contents() == before


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5])
def test_killed_at_any_write_and_started_again_it_leaves_the_same_bytes(
    place: int, runner: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.run("Prepare", "Generate")
    monkeypatch.setattr(dataset_module, "PART_ROWS", 16)
    kept: dict[str, bytes] = {}

    class Killed(BaseException):
        """What no handler of ours may catch, as none can catch SIGKILL."""

    put, count = Store.put, itertools.count()

    def dying(self: Store, name: str, data: bytes) -> None:
        if "artifacts/" in name and next(count) == place:
            raise Killed
        put(self, name, data)

    monkeypatch.setattr(Store, "put", dying)
    with pytest.raises(Killed):
        runner.run("Curate")
    monkeypatch.setattr(Store, "put", put)
    assert not (runner.artifact("samples") / "manifest.json").exists()
    kept |= {str(path): path.read_bytes() for path in runner.artifact("dataset").glob("*")}
    runner.run("Curate")
    assert len(list(runner.artifact("dataset").iterdir())) == 2 * 3 + 2
    assert all(Path(name).read_bytes() == data for name, data in kept.items())


# Validation that is empty


def overlong(runner: StageRunner) -> None:
    write_records(runner.job_folder.root / "data" / "validation.jsonl", ["word " * 20 + str(one) for one in range(8)])
    runner.job_folder.set("training.maxLength", 16)


def cut_off(runner: StageRunner) -> None:
    runner.job_folder.set("generation.minSuccessRatio", 0.0)
    runner.says = lambda text: "yes " * 40 if text.startswith("validation") else "yes"


def deadly(runner: StageRunner) -> None:
    """Every validation prompt kills the engine, so that none has an answer."""
    runner.job_folder.set("generation.minSuccessRatio", 0.0)
    usual = runner.engines.engine.reply

    def reply(prompt: Sequence[int], seed: int) -> Sequence[int]:
        if "validation asks" in runner.chat.tokenizer.decode(list(prompt)):
            raise EngineLost("the engine was told to die", at="test", fix="Start again")
        return usual(prompt, seed)

    runner.engines.engine.reply = reply


@pytest.mark.parametrize("empty", [overlong, cut_off, deadly])
def test_without_validation_samples_the_best_loss_is_null_and_never_infinite(
    empty: Callable[[StageRunner], None], runner: StageRunner
) -> None:
    empty(runner)
    runner.job_folder.set("training.epochs", 1)
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert summary.validation.samples == 0
    trained = runner.run("Train").summary
    assert trained.validation_loss is None
    assert trained.best_step == trained.steps == 3
    texts = [path.read_text() for path in runner.job_folder.store.root.glob("artifacts/*/*/*.json")]
    assert not any(word in text for text in texts for word in ("Infinity", "NaN"))
    curve = json.loads((runner.artifact("student") / "trained" / "curve.json").read_text())
    assert curve["validation"] == []


def other_template(runner: StageRunner, tmp_path: Path) -> None:
    """A student with the teacher's vocabulary and a chat template of its own."""
    folder = tmp_path / "other-template"
    shutil.copytree(QUICKSTART / "student", folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = (
        "<bos>{% for message in messages %}{{ '### ' + message['role'] + ': ' + message['content'] + '<end>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '### assistant: ' }}{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    runner.job_folder.set("student.model.source", str(folder))


def test_a_student_with_another_template_learns_its_own_rendering(runner: StageRunner, tmp_path: Path) -> None:
    other_template(runner, tmp_path)
    prepared = runner.run("Prepare").summary
    assert prepared.objective == "CachedLogits"
    assert "another chat template" in prepared.objective_reason
    assert runner.run("Generate", "Curate").summary.without_logprobs == 0
    folder = artifact_folder("samples", runner.job_folder.keys()["samples"])
    sample = open_samples(runner.job_folder.store, folder, "train")[0]
    decode = runner.chat.tokenizer.decode
    assert decode(sample.ids_L.tolist()) == "<bos>### user: train asks 0<end>### assistant: yes<end>"
    assert decode(sample.ids_L[sample.scored_L].tolist()) == "yes<end>"
    assert sample.known_N.all()
    # The function engine's most likely id is the one that it drew.
    assert sample.top is not None
    assert sample.top.ids_TK[:, 0].tolist() == sample.ids_L[sample.scored_L].tolist()


def test_selected_draws_are_learned_and_the_others_kept_with_their_reason(runner: StageRunner) -> None:
    prompts = [f"train asks {number}" for number in range(40)]
    write_records(runner.job_folder.root / "data" / "train.jsonl", prompts, reference="yes")
    runner.job_folder.set("generation.samplesPerPrompt", 3)
    runner.job_folder.set("generation.temperature", 1.0)
    runner.job_folder.set("curation", {"select": "Verified", "minKeepRatio": 0.1})

    def reply(prompt: Sequence[int], seed: int) -> list[int]:
        ids: list[int] = runner.chat.tokenizer.encode("yes" if seed % 3 else "no", add_special_tokens=False)
        return ids

    runner.engines.engine.reply = reply
    summary = runner.run("Prepare", "Generate", "Curate").summary
    texts = [
        one.answer.turns[0].text for one in read_dataset(runner.job_folder.store, runner.job_folder.keys()["dataset"])
    ]
    assert set(texts) == {"yes"}
    assert summary.rejected == {"Unverified": 120 - len(texts)}
    assert {(one["reason"], *one["texts"]) for one in rejected(runner)} == {("Unverified", "no")}


def test_surplus_answers_of_a_frequent_label_are_rejected_and_lower_no_ratio(runner: StageRunner) -> None:
    runner.job_folder.set("curation", {"maxShare": 0.5, "minKeepRatio": 1.0})
    runner.says = lambda text: "no" if text.endswith("7") else "yes"
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert (summary.asked, summary.kept, summary.keep_ratio) == (40, 8, 1.0)
    assert (summary.labels, summary.rejected) == ({"no": 4, "yes": 4}, {"Overrepresented": 32})
    assert {(one["reason"], *one["texts"]) for one in rejected(runner)} == {("Overrepresented", "yes")}
