"""Curation: what filters are worth if every fifth answer of the teacher is bad.

Two arms on the quickstart's prompts, three seeds each, judged on the messages of bench-quality. 20 % of the teacher's
answers are replaced at random, a third each by another label, by a refusal and by the beginning of the label. One arm
learns from all of them, and the other from what the filters keep. A third arm, with one seed, learns from the teacher's
own answers. Everything is under build/bench-curation and continues from there when it is started again.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from quality import CHOSEN_EPOCHS, LEARNING_RATE, SEEDS, accuracies_of, print_machine, write_test
from trials import QUICKSTART, Outcome, Trial, resolve_trial, run_trial

from kubedistill.contract.artifacts import AnswersFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.manifest.loading import load_manifest
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn, encode_answers
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.evaluation.statistics import Difference, Scores, compare
from kubedistill_runtime.storage.artifacts import find, publish, read_figures
from kubedistill_runtime.storage.store import Store, open_store
from kubedistill_runtime.teachers.answer_sets import read_answer_set

FOLDER = Path(__file__).resolve().parents[1] / "build/bench-curation"
SHARE = 0.2
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot answer this question.",
    "As an AI language model, I am not able to do that.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one arm learns from."""

    title: str
    corrupted: bool
    filtered: bool
    seeds: Sequence[int] = SEEDS


ARMS: dict[str, Arm] = {
    "clean": Arm(title="the teacher's answers", corrupted=False, filtered=True, seeds=SEEDS[:1]),
    "on": Arm(title=f"{SHARE:.0%} corrupted, filters on", corrupted=True, filtered=True),
    "off": Arm(title=f"{SHARE:.0%} corrupted, filters off", corrupted=True, filtered=False),
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
    leads = [
        compare(on.scores, off.scores, generator=np.random.default_rng(seed))
        for seed, on, off in zip(SEEDS, results["on"], results["off"], strict=True)
    ]
    overall = compare(*(mean_scores(results[name]) for name in ("on", "off")), generator=np.random.default_rng(0))
    print_results(results, [*zip(map(str, SEEDS), leads, strict=True), ("all", overall)])
    print_machine(results)
    broken = broken_claims(overall)
    for claim in broken:
        print(f"DOES NOT HOLD: {claim}")
    print(json.dumps({"figures": figures_of(results, leads, overall)}))
    return 1 if broken else 0


def trial_of(name: str, *, seed: int, test: Path) -> Trial:
    """Return the trial of one arm with one seed."""
    return Trial(
        name=f"{name}-{seed}",
        objective="Sequence",
        temperature=0.0,
        learning_rate=LEARNING_RATE,
        epochs=CHOSEN_EPOCHS,
        seed=seed,
        test=test,
        filtered=ARMS[name].filtered,
    )


def run_arm(name: str, *, seed: int, test: Path) -> Outcome:
    """Run one arm with one seed; both arms with corrupted answers share a store, and the same answers."""
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


def mean_scores(outcomes: Sequence[Outcome]) -> Scores:
    """Return the mean over the seeds of each test record's score."""
    return np.mean([outcome.scores for outcome in outcomes], axis=0)


def print_results(results: Results, leads: Sequence[tuple[str, Difference]]) -> None:
    """Print the accuracy of every arm and seed, what was kept, and the paired differences."""
    print(f"\n{'accuracy':32}{''.join(f'  seed {seed}' for seed in SEEDS)}    mean  answers kept")
    for name, outcomes in results.items():
        values = accuracies_of(outcomes)
        kept = "  ".join(f"{outcome.report.data.kept:,}" for outcome in outcomes)
        print(f"{ARMS[name].title:32}{''.join(f'  {value:6.2%}' for value in values)}  {mean(values):6.2%}  {kept}")
    print(f"\n{'filters on minus off':22}seed  points        p  95 % interval   verdict")
    for seed, lead in leads:
        low, high = (100 * limit for limit in lead.ci95)
        between = f"[{low:.1f}, {high:.1f}]"
        print(f"{'':22}{seed:>4}  {100 * lead.mean:+6.2f}  {lead.p_value:7.1g}  {between:14}  {lead.verdict}")


def broken_claims(overall: Difference) -> list[str]:
    """Return every claim of this benchmark that does not hold, from the lead of the filters over all seeds."""
    if overall.verdict == "worse":
        return ["with corrupted answers, students with the filters on are not worse than with them off"]
    return []


def figures_of(results: Results, leads: Sequence[Difference], overall: Difference) -> dict[str, float]:
    """Return the figures by name: fractions, and p of the lead over all seeds."""
    figures = {
        "onMinusOff": overall.mean,
        "pOfOnMinusOff": overall.p_value,
        "lowestOnMinusOff": min(lead.mean for lead in leads),
        **{f"{name}Accuracy": mean(accuracies_of(outcomes)) for name, outcomes in results.items()},
    }
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
