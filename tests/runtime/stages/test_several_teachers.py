"""Several teachers: who is asked what, which answers are kept, and what the report says of each."""

import json
from collections import Counter
from typing import Any

import pytest

from kubedistill.contract import Prices
from kubedistill.contract.artifacts import AnswersFigures, DatasetFigures, JudgeFigures
from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill_runtime.storage.artifacts import read_figures
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from support.endpoint_server import Reaction, chat, endpoint_server
from support.job_folder import COUNTS, QUICKSTART
from support.stage_runner import StageRunner
from support.trained_student import evaluate, with_student

ODD = {"match": {"tag": "odd"}}


def served(name: str, **fields: Any) -> dict[str, Any]:
    # The second copy of one model has another maximum length, so its answers are its own.
    length = {"main": 64, "other": 63, "third": 62}[name]
    return {"name": name, "model": {"source": str(QUICKSTART / "student"), "maxModelLen": length}, **fields}


@pytest.fixture
def tagged(runner: StageRunner) -> StageRunner:
    """Every second record is tagged odd; references are no for those, else yes."""
    for split, count in COUNTS.items():
        lines = [
            {
                "prompt": f"{split} asks {place}",
                "tags": ["odd"] if place % 2 else ["even"],
                "reference": "no" if place % 2 else "yes",
            }
            for place in range(count)
        ]
        path = runner.job_folder.root / "data" / f"{split}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    runner.job_folder.set("teachers", [served("main"), served("other", **ODD)])
    runner.says = lambda text: "no" if int(text.split()[-1]) % 2 else "yes"
    return runner


def answered_by(runner: StageRunner) -> dict[str, Counter[str]]:
    """Count the answers of each split by teacher."""
    store, keys = runner.job_folder.store, runner.job_folder.keys()
    found = {"train": read_figures(store, "answers", keys["answers"], AnswersFigures).splits["train"]}
    found |= read_figures(store, "judge", keys["judge"], JudgeFigures).splits
    return {split: Counter(part.teachers) for split, part in found.items()}


def test_each_record_is_answered_once_by_the_teacher_of_its_tag(tagged: StageRunner) -> None:
    summary = tagged.run("Prepare", "Generate").summary
    assert (summary.answers, summary.generated) == (56, 56)
    assert answered_by(tagged) == {split: Counter(main=count // 2, other=count // 2) for split, count in COUNTS.items()}
    store, keys = tagged.job_folder.store, tagged.job_folder.keys()
    for one in read_answer_set(store, "answers", keys["answers"], "train"):
        assert one.teacher == ("other" if "odd" in one.record.tags else "main")
        assert (one.sample, one.answer.turns[0].text) == (0, one.record.references[0])
    judged = read_figures(store, "judge", keys["judge"], JudgeFigures)
    assert judged.serving is None
    assert {name: one.figures is not None for name, one in judged.teachers.items()} == {"main": True, "other": True}
    assert [(said.done, said.total) for said in tagged.said if said.state == "Working"][-1] == (56, 56)
    assert {said.total for said in tagged.said if said.unit == "answers"} == {56}, "one count over both teachers"


def test_a_further_teacher_is_asked_only_its_own(tagged: StageRunner) -> None:
    tagged.run("Prepare", "Generate")
    tagged.job_folder.set("teachers", [served("main"), served("other", **ODD), served("third")])
    summary = tagged.run("Prepare", "Generate").summary
    third = sum(count["third"] for count in answered_by(tagged).values())
    assert 0 < third < 28
    assert summary.generated == third


def test_answers_of_all_are_kept_once_and_counted_by_teacher(tagged: StageRunner) -> None:
    tagged.says = lambda text: "perhaps" if text.endswith("11") else "no" if int(text.split()[-1]) % 2 else "yes"
    tagged.run("Prepare", "Generate", "Curate")
    store, key = tagged.job_folder.store, tagged.job_folder.keys()["dataset"]
    found = read_figures(store, "dataset", key, DatasetFigures)
    assert {name: (one.asked, one.kept) for name, one in found.teachers.items()} == {
        "main": (20, 20), "other": (20, 19),
    }  # fmt: skip
    rejected = (tagged.artifact("dataset") / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["teacher"] for line in rejected] == ["other"]


def test_best_of_keeps_what_matches_the_reference_else_the_majority(
    tagged: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagged.says = lambda text: "yes"  # right on even records only
    monkeypatch.setenv("KUBEDISTILL_KEY_FAR", "sk")
    with endpoint_server(lambda received: Reaction(body=chat("no"))) as server:  # right on odd ones only
        far = {"name": "far", "endpoint": {"model": "m", "url": f"{server.url}/v1"}}
        tagged.job_folder.set("teachers", [served("main"), far])
        tagged.job_folder.set("generation.routing", "BestOf")
        summary = tagged.run("Prepare", "Generate", "Curate").summary
    assert (summary.asked, summary.kept, summary.rejected) == (80, 40, {"Unverified": 40})
    store, keys = tagged.job_folder.store, tagged.job_folder.keys()
    found = read_figures(store, "dataset", keys["dataset"], DatasetFigures)
    assert {name: (one.asked, one.kept) for name, one in found.teachers.items()} == {"main": (40, 20), "far": (40, 20)}
    answers = list(read_answer_set(store, "answers", keys["answers"], "train"))
    assert [(one.sample, one.teacher) for one in answers[:4]] == [(0, "main"), (1, "far")] * 2
    assert tagged.job_folder.resolve().objective == "Sequence", "the endpoint gives no distributions"


def test_of_equal_answers_best_of_keeps_those_of_the_first_teacher(tagged: StageRunner) -> None:
    tagged.job_folder.set("teachers", [served("main"), served("other")])
    tagged.job_folder.set("generation.routing", "BestOf")
    summary = tagged.run("Prepare", "Generate", "Curate").summary
    assert (summary.asked, summary.kept, summary.rejected) == (80, 40, {"OtherTeacher": 40})
    assert summary.samples == 40


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a record that nobody matches": (
        {"teachers": [served("main", match={"tag": "even"})]}, InvalidData, "no teacher matches record",
    ),
    "a tag in another case": (
        {"teachers": [served("main"), served("other", match={"tag": "Even"})]}, InvalidManifest, "the tag 'even'",
    ),
    "best of one": ({"teachers": [served("main")], "generation.routing": "BestOf"}, InvalidManifest, "there is one"),
    "best of free text": (
        {"generation.routing": "BestOf", "task": {"type": "Conversation"}}, InvalidManifest, "never equal",
    ),
    "best of given answers": (
        {"generation.routing": "BestOf", "data.train.answers": "Given"}, InvalidManifest, "are Given",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_routing_that_cannot_work_is_refused_before_anything_is_asked(case: str, tagged: StageRunner) -> None:
    changes, error, problem = REFUSED[case]
    for path, value in changes.items():
        tagged.job_folder.set(path, value)
    with pytest.raises(error, match=problem):
        tagged.run("Prepare")


def test_a_teacher_without_records_is_a_note(tagged: StageRunner) -> None:
    tagged.job_folder.set("teachers", [served("main"), served("other", match={"tag": "od"})])
    notes = tagged.run("Prepare").summary.notes
    assert "teacher other answers no record: none has the tag 'od'" in notes
    assert tagged.run("Generate").summary.generated == 56


def test_routes_enter_the_keys_of_several_teachers_only(tagged: StageRunner) -> None:
    two = tagged.job_folder.keys()
    tagged.job_folder.set("teachers.0.weight", 2)
    weighted = tagged.job_folder.keys()
    assert weighted["rows"] != two["rows"]
    tagged.job_folder.set("teachers", [served("main")])
    one = tagged.job_folder.keys()
    tagged.job_folder.set("teachers", [served("main", weight=5, match={"tag": "even"})])
    assert tagged.job_folder.keys() == one


def test_the_report_has_each_teacher_with_its_share_its_score_and_its_cost(tagged: StageRunner) -> None:
    tagged.says = lambda text: "yes"  # so the teacher of the odd records is always wrong
    report = evaluate(with_student(tagged), prices=Prices(teachers={"main": 4.0, "other": 2.0}, student=1.0))
    main, other = report["teachers"]
    assert [(one["name"], one["asked"], one["kept"], one["share"], one["tested"]) for one in (main, other)] == [
        ("main", 20, 20, 0.5, 4), ("other", 20, 20, 0.5, 4),
    ]  # fmt: skip
    assert (main["accuracy"], other["accuracy"], report["arms"]["teacher"]["accuracy"]) == (1.0, 0.0, 0.5)
    arm = report["arms"]["teacher"]
    assert arm["costPerThousand"] == pytest.approx((main["costPerThousand"] + other["costPerThousand"]) / 2)
    assert arm["latencySeconds"] == pytest.approx((main["latencySeconds"] + other["latencySeconds"]) / 2)
    assert (arm["throughputPerHour"], arm["hardware"]) == (None, "a function")
    page = (tagged.artifact("report") / "report.html").read_text()
    assert page.count("<h2>Teachers <span>") == 1
    assert "| other | 20 (50.0%) | 20 | 4 | 0.0% |" in (tagged.artifact("report") / "report.md").read_text()


def test_with_best_of_the_arm_is_the_majority_and_all_are_paid(tagged: StageRunner) -> None:
    tagged.job_folder.set("teachers", [served("main"), served("other"), served("third")])
    tagged.job_folder.set("generation.routing", "BestOf")
    prices = Prices(teachers={"main": 4.0, "other": 2.0, "third": 1.0}, student=1.0)
    report = evaluate(with_student(tagged), prices=prices)
    assert [one["tested"] for one in report["teachers"]] == [8, 8, 8]
    assert report["comparison"]["totalRows"] == 8
    arm = report["arms"]["teacher"]
    assert arm["costPerThousand"] == pytest.approx(sum(one["costPerThousand"] for one in report["teachers"]))
    assert arm["latencySeconds"] == pytest.approx(max(one["latencySeconds"] for one in report["teachers"]))
