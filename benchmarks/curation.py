"""Curation: what filters are worth if every fifth answer of the teacher is bad.

Three arms on the quickstart's prompts, seven seeds each, judged on the messages of bench-quality. 20 % of the teacher's
answers are replaced at random, a third each by another label, by a refusal and by the beginning of the label. One arm
learns from all of them, one from what the filters keep, and one only from answers that match their reference. All
trainings take the same number of steps. A fourth arm, with one seed, learns from the teacher's own answers. Everything
is under build/bench-curation and continues from there when it is started again.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from quality import CHOSEN_EPOCHS, LEARNING_RATE, accuracies_of, print_machine, write_test
from scipy.stats import ttest_1samp
from trials import QUICKSTART, Outcome, Trial, resolve_trial, run_trial

from kubedistill.contract.artifacts import AnswersFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.manifest.loading import load_manifest
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn, encode_answers
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.evaluation.statistics import Difference
from kubedistill_runtime.storage.artifacts import find, publish, read_figures
from kubedistill_runtime.storage.store import Store, open_store
from kubedistill_runtime.teachers.answer_sets import read_answer_set

FOLDER = Path(__file__).resolve().parents[1] / "build/bench-curation"
SHARE = 0.2
SEEDS = (0, 1, 3, 4, 5, 6, 7)
STEPS, MOST_EPOCHS = 75 * CHOSEN_EPOCHS, 40
"""Steps of all trainings, as many as CHOSEN_EPOCHS of all answers take, and epochs that are enough for them."""
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot answer this question.",
    "As an AI language model, I am not able to do that.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one arm learns from."""

    title: str
    corrupted: bool = True
    filtered: bool = True
    verified: bool = False
    """Whether only answers that match a reference are kept."""
    seeds: Sequence[int] = SEEDS


ARMS: dict[str, Arm] = {
    "clean": Arm(title="the teacher's answers", corrupted=False, seeds=SEEDS[:1]),
    "off": Arm(title=f"{SHARE:.0%} corrupted, filters off", filtered=False),
    "on": Arm(title="filters on"),
    "verified": Arm(title="filters on, select: Verified", verified=True),
}
Results = Mapping[str, Sequence[Outcome]]
"""The outcomes of each arm, in the order of its seeds."""


def main() -> int:
    """Measure all arms; returns 1 if the filters make a student worse."""
    test = write_test()
    runs = {
        (name, seed): run_arm(name, seed=seed, test=test)
        for seed in SEEDS
        for name, arm in ARMS.items()
        if seed in arm.seeds
    }
    results = {name: [runs[name, seed] for seed in arm.seeds] for name, arm in ARMS.items()}
    leads = {name: compare_by_seed(results[name], results["off"]) for name in ("on", "verified")}
    print_results(results, leads)
    print_machine(results)
    broken = broken_claims(leads["on"])
    for claim in broken:
        print(f"DOES NOT HOLD: {claim}")
    print(json.dumps({"figures": figures_of(results, leads)}))
    return 1 if broken else 0


def trial_of(name: str, *, seed: int, test: Path) -> Trial:
    """Return the trial of one arm with one seed."""
    arm = ARMS[name]
    return Trial(
        name=f"{name}-{seed}",
        objective="Sequence",
        temperature=0.0,
        learning_rate=LEARNING_RATE,
        epochs=MOST_EPOCHS,
        max_steps=STEPS,
        seed=seed,
        test=test,
        filtered=arm.filtered,
        changes={"curation": {"select": "Verified", "minKeepRatio": 0.5}} if arm.verified else {},
    )


def run_arm(name: str, *, seed: int, test: Path) -> Outcome:
    """Run one arm with one seed; arms with corrupted answers share a store, and the same answers."""
    trial, store = trial_of(name, seed=seed, test=test), open_store(str(FOLDER / "store"))
    if ARMS[name].corrupted:
        source, store = store, open_store(str(FOLDER / f"corrupted-{seed}"))
        clean = resolve_trial(trial_of("clean", seed=SEEDS[0], test=test), folder=FOLDER, store=source)
        labels = load_manifest(QUICKSTART / "job.yaml").spec.task.answer_labels
        corrupt_teacher(clean, labels=labels, source=source, target=store, seed=seed)
    outcome = run_trial(trial, folder=FOLDER, store=store)
    print(f"{trial.name}: {outcome.seconds:.0f} s, load {outcome.load:.1f}", file=sys.stderr, flush=True)
    return outcome


def corrupt_teacher(choices: Choices, *, labels: Sequence[str], source: Store, target: Store, seed: int) -> None:
    """Copy all that a finished trial's teacher left to another store, with some of its answers replaced.

    The teacher answers greedily, so its answers are the same for each seed of the training.
    """
    keys, (teacher,) = choices.keys, choices.teachers
    if find(target, "answers", keys["answers"]).complete:
        return
    for part in ("rows", *(artifact_folder(name, keys[name]) for name in ("rows", "judge"))):
        shutil.copytree(source.path(part), target.path(part), dirs_exist_ok=True)
    assert teacher.model is not None
    chat = load_chat_format(teacher.model, at=f"{teacher.at}.model")
    answered = list(read_answer_set(source, "answers", keys["answers"], "train"))
    bad = corrupt(answered, labels=labels, chat=chat, generator=np.random.default_rng(seed))
    shard = "rows/corrupted/train.parquet"
    target.put(shard, encode_answers(one.answer for one in bad))
    figures = read_figures(source, "answers", keys["answers"], AnswersFigures)
    train = figures.splits["train"].model_copy(update={"shards": [shard]})
    publish(target, "answers", keys["answers"], figures.model_copy(update={"splits": {"train": train}}), files=[shard])


def corrupt(
    answered: Sequence[AnsweredRecord], *, labels: Sequence[str], chat: ChatFormat, generator: np.random.Generator
) -> list[AnsweredRecord]:
    """Replace a share of single-turn answers, a third each by another label, a refusal and the label's beginning."""
    count = round(SHARE * len(answered))
    kinds = {int(place): turn % 3 for turn, place in enumerate(generator.permutation(len(answered))[:count])}
    return [
        replace_text(one, text=bad_text(one, kinds[place], labels=labels, generator=generator), chat=chat)
        if place in kinds
        else one
        for place, one in enumerate(answered)
    ]


def bad_text(answered: AnsweredRecord, kind: int, *, labels: Sequence[str], generator: np.random.Generator) -> str:
    """Return another text for an answer."""
    (turn,) = answered.answer.turns
    if kind == 0:
        return str(generator.choice([label for label in labels if label != turn.text.strip()]))
    if kind == 1:
        return str(generator.choice(REFUSALS))
    return turn.text[: max(1, len(turn.text) // 2)]


def replace_text(answered: AnsweredRecord, *, text: str, chat: ChatFormat) -> AnsweredRecord:
    """Return an answer with another text, which ended by itself like a good one, and its ids."""
    (turn,) = answered.answer.turns
    ids = (*chat.tokenizer.encode(text, add_special_tokens=False), chat.end_id)
    return replace(answered, answer=Answer(answered.answer.row_key, (Turn(turn.prompt_ids, ids, text, "stop"),)))


def compare_by_seed(first: Sequence[Outcome], second: Sequence[Outcome]) -> Difference:
    """Compare two arms by the differences of their accuracies, one for each seed (Student's t-test).

    A test on the records would take the chance in a training, of about 2 points, for an effect of the arm.
    """
    differences = np.array(accuracies_of(first)) - np.array(accuracies_of(second))
    test = ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(0.95)
    return Difference(float(differences.mean()), (float(low), float(high)), float(test.pvalue))


def print_results(results: Results, leads: Mapping[str, Difference]) -> None:
    """Print the accuracy of every arm and seed, what was kept, and the differences from the arm without filters."""
    print(f"\n{'accuracy':32}{''.join(f'  seed {seed}' for seed in SEEDS)}    mean  answers kept")
    for name, outcomes in results.items():
        values = accuracies_of(outcomes)
        kept = "  ".join(f"{outcome.report.data.kept:,}" for outcome in outcomes)
        print(f"{ARMS[name].title:32}{''.join(f'  {value:6.2%}' for value in values)}  {mean(values):6.2%}  {kept}")
    print(f"\n{'minus filters off':32}points       p  95 % interval   verdict")
    for name, lead in leads.items():
        low, high = (100 * limit for limit in lead.ci95)
        between = f"[{low:.1f}, {high:.1f}]"
        print(f"{ARMS[name].title:32}{100 * lead.mean:+6.2f}  {lead.p_value:6.2g}  {between:14}  {lead.verdict}")


def broken_claims(lead: Difference) -> list[str]:
    """Return every claim of this benchmark that does not hold, from the lead of the filters over the seeds."""
    if lead.verdict == "worse":
        return ["with corrupted answers, students with the filters on are not worse than with them off"]
    return []


def figures_of(results: Results, leads: Mapping[str, Difference]) -> dict[str, float]:
    """Return the figures by name: fractions, and p of each lead."""
    figures = {
        **{f"{name}MinusOff": lead.mean for name, lead in leads.items()},
        **{f"pOf{name.capitalize()}MinusOff": lead.p_value for name, lead in leads.items()},
        **{f"{name}Accuracy": mean(accuracies_of(outcomes)) for name, outcomes in results.items()},
    }
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
