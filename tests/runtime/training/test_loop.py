"""The loop: when it ends, what it keeps, and that a stop changes nothing."""

import dataclasses
import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from kubedistill.errors import TrainingFailed
from kubedistill_runtime.training.batches import order_samples
from kubedistill_runtime.training.loop import Loop, make_optimizer
from kubedistill_runtime.training.samples import Sample
from support import tiny_training as tiny
from support.messages import CheckMessage

TRAIN = tiny.make_samples([(3, 4), (1, 9), (6, 1), (2, 2), (5, 5), (1, 1), (4, 7), (2, 3), (3, 3), (1, 6)])
VALIDATION = tiny.make_samples([(2, 5), (4, 2), (1, 3)], seed=7)
SHORT = {"globalBatchSize": 4, "epochs": 2, "validation": {"everySteps": 2}}  # 3 steps per epoch, 6 in all


def assert_same_end(one: tiny.Record, other: tiny.Record) -> None:
    assert one.state.curve.to_values() == other.state.curve.to_values()
    assert one.state.best_loss == other.state.best_loss
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name


def go(*, resume: bytes | None = None, stop_after: int | None = None, seconds_per_step: float = 0.0) -> tiny.Record:
    return tiny.run(
        tiny.make_training(**SHORT),
        tiny.make_student(),
        train=TRAIN,
        validation=VALIDATION,
        resume=resume,
        stop_after=stop_after,
        seconds_per_step=seconds_per_step,
    )


@pytest.fixture(scope="module")
def whole() -> tiny.Record:
    return go()


@pytest.mark.parametrize("step", range(1, 7))
def test_stop_at_any_step_and_resume_give_the_same_bits(step: int, whole: tiny.Record) -> None:
    stopped = go(stop_after=step)
    assert stopped.state is None
    assert list(stopped.saved) == [step]
    resumed = go(resume=stopped.saved[step])
    assert stopped.losses + resumed.losses == whole.losses
    assert_same_end(resumed, whole)


def test_stop_after_every_single_step_gives_the_same_bits(whole: tiny.Record) -> None:
    state = None
    for step in range(1, 7):
        state = go(resume=state, stop_after=step).saved[step]
    assert_same_end(go(resume=state), whole)


def test_kill_between_checkpoints_repeats_the_lost_steps(whole: tiny.Record) -> None:
    """At 4 minutes a step, a checkpoint every 10 minutes falls on steps 3 and 6."""
    watched = go(seconds_per_step=240)
    assert list(watched.saved) == [3, 6]
    resumed = go(resume=watched.saved[3])
    assert resumed.losses == whole.losses[3:]
    assert_same_end(resumed, whole)


def test_tokens_that_are_told_are_those_of_all_steps_whatever_was_resumed(whole: tiny.Record) -> None:
    expected = list(itertools.accumulate(point["tokens"] for point in whole.state.curve.train))
    assert whole.tokens == expected
    stopped = go(stop_after=4)
    assert go(resume=stopped.saved[4]).tokens == expected[4:]


def test_each_micro_batch_of_steps_and_validations_is_noted() -> None:
    """10 samples in each of 2 epochs, and 3 in each of 3 validations."""
    training = tiny.make_training(**SHORT, microBatchSize=1)
    assert tiny.run(training, tiny.make_student(), train=TRAIN, validation=VALIDATION).computed == 29


def test_run_does_not_depend_on_global_randomness(whole: tiny.Record) -> None:
    student = tiny.make_student()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(99)
    again = tiny.run(tiny.make_training(**SHORT), student, train=TRAIN, validation=VALIDATION)
    assert_same_end(again, whole)


def test_seed_of_the_training_changes_the_order(whole: tiny.Record) -> None:
    other = tiny.run(tiny.make_training(**SHORT, seed=1), tiny.make_student(), train=TRAIN, validation=VALIDATION)
    assert other.losses != whole.losses


def test_curve_says_what_each_step_was(whole: tiny.Record) -> None:
    curve = whole.state.curve
    assert [point["step"] for point in curve.train] == [1, 2, 3, 4, 5, 6]
    assert [point["loss"] for point in curve.train] == whole.losses
    assert [point["step"] for point in curve.validation] == [2, 4, 6]


def test_each_epoch_meets_every_sample_once_in_an_order_of_its_own(whole: tiny.Record) -> None:
    scored = np.array([sample.scored for sample in TRAIN])
    epochs = [scored[order_samples(len(TRAIN), seed=0, epoch=epoch)] for epoch in (0, 1)]
    expected = [int(part.sum()) for epoch in epochs for part in (epoch[:4], epoch[4:8], epoch[8:])]
    assert [point["tokens"] for point in whole.state.curve.train] == expected
    assert expected[:3] != expected[3:]


@pytest.mark.parametrize(("max_steps", "steps"), [(1, 1), (4, 4), (6, 6), (60, 6)])
def test_max_steps_ends_a_run_even_inside_an_epoch(max_steps: int, steps: int) -> None:
    training = tiny.make_training(**SHORT, maxSteps=max_steps)
    record = tiny.run(training, tiny.make_student(), train=TRAIN, validation=VALIDATION)
    assert record.state.step == len(record.losses) == steps
    assert record.state.curve.validation[-1]["step"] == steps, "the last step is always validated"


def contradiction() -> tuple[list[Sample], list[Sample]]:
    """Train on the reply that a student finds least likely, validate on the most likely: it only gets worse."""
    prompt = torch.tensor([[5, 6]])
    order = tiny.make_student().language_model(prompt).logits[0, -1].argsort()
    scored = np.array([False, False, True])
    least, likeliest = (
        Sample(np.array([5, 6, int(order[end])], np.int32), scored, None, np.array([False])) for end in (0, -1)
    )
    return [least], [likeliest]


def learn_a_contradiction(
    *, steps: int, patience: int = 2, keep_best: bool = True, stop_after: int | None = None, resume: bytes | None = None
) -> tiny.Record:
    train, validation = contradiction()
    training = tiny.make_training(
        optimizer={"scheduler": "Constant"},
        epochs=steps,
        validation={"everySteps": 1, "patience": patience, "keepBest": keep_best},
    )
    return tiny.run(
        training,
        tiny.make_student("Sequence"),
        train=train,
        validation=validation,
        stop_after=stop_after,
        resume=resume,
    )


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_training_ends_after_so_many_validations_without_a_lower_loss(patience: int) -> None:
    record = learn_a_contradiction(steps=20, patience=patience)
    losses = [point["loss"] for point in record.state.curve.validation]
    assert losses == sorted(losses), "the case must get worse from the first step on"
    assert (record.state.step, record.state.curve.best_step) == (1 + patience, 1)


def test_patient_training_runs_to_its_end() -> None:
    assert learn_a_contradiction(steps=6, patience=6).state.step == 6


@pytest.mark.parametrize(("keep_best", "kept"), [(True, 1), (False, 3)])
def test_keep_best_restores_the_best_weights_and_its_absence_the_last(keep_best: bool, kept: int) -> None:
    found = learn_a_contradiction(steps=20, keep_best=keep_best)
    assert found.state.step == 3
    expected = learn_a_contradiction(steps=kept, keep_best=False, patience=100)
    for name, value in expected.weights.items():
        assert torch.equal(found.weights[name], value), name


@pytest.mark.parametrize("step", [1, 2, 3])
def test_patience_is_remembered_over_a_stop(step: int) -> None:
    stopped = learn_a_contradiction(steps=20, stop_after=step)
    assert_same_end(learn_a_contradiction(steps=20, resume=stopped.saved[step]), learn_a_contradiction(steps=20))


def test_without_validation_the_last_weights_are_kept() -> None:
    record = tiny.run(tiny.make_training(**SHORT), tiny.make_student(), train=TRAIN)
    assert (record.state.step, record.state.curve.validation, record.state.curve.best_step) == (6, [], 0)
    assert record.state.best_weights is None
    assert record.state.best_loss is None, "no loss is not an infinite one"


@pytest.mark.parametrize("stop_after", [1, 4])
def test_that_nothing_was_validated_is_remembered_over_a_stop(stop_after: int) -> None:
    training = tiny.make_training(**SHORT)
    stopped = tiny.run(training, tiny.make_student(), train=TRAIN, stop_after=stop_after)
    resumed = tiny.run(training, tiny.make_student(), train=TRAIN, resume=stopped.saved[stop_after])
    assert (resumed.state.step, resumed.state.best_loss) == (6, None)


def test_validation_loss_that_is_not_a_number_fails_and_names_the_step(check_message: CheckMessage) -> None:
    """Both would stand in curve.json, which is then no JSON."""

    class Overflowing(Loop):
        def measure(self, samples: Sequence[Sample]) -> float:
            return float("inf")

    loop = Overflowing(tiny.make_student(), tiny.make_training(**SHORT), TRAIN, VALIDATION)
    with pytest.raises(TrainingFailed) as refused:
        loop.run()
    check_message(refused.value, "spec.training.optimizer.learningRate", 2, "inf")


def test_loss_that_is_not_a_number_fails_and_names_the_field_and_is_not_saved(check_message: CheckMessage) -> None:
    student = tiny.make_student()
    student.language_model.model.norm.weight.data.fill_(float("nan"))
    saved: list[int] = []
    loop = Loop(student, tiny.make_training(**SHORT), TRAIN, VALIDATION)
    loop.hooks = dataclasses.replace(loop.hooks, save=lambda step, _: saved.append(step), stopping=lambda: True)
    with pytest.raises(TrainingFailed) as refused:
        loop.run()
    check_message(refused.value, "spec.training.optimizer.learningRate", 1, "nan")
    assert saved == []


@pytest.mark.parametrize("config", [{"hidden_size": 32}, {"num_hidden_layers": 3}, {"vocab_size": 64}])
def test_state_of_another_student_is_refused_with_the_remedy(
    config: dict[str, int], check_message: CheckMessage
) -> None:
    saved = go(stop_after=1).saved[1]
    with pytest.raises(TrainingFailed) as refused:
        tiny.run(tiny.make_training(**SHORT), tiny.make_student(**config), train=TRAIN, resume=saved)
    check_message(refused.value, "steps")


@pytest.mark.parametrize("micro", [None, 1, 2, 5])
def test_measured_loss_is_the_mean_over_scored_ids_however_they_are_batched(micro: int | None) -> None:
    student = tiny.make_student()
    loop = Loop(student, tiny.make_training(microBatchSize=micro), [], VALIDATION)
    alone = [Loop(student, loop.training, [], [sample]).measure([sample]) for sample in VALIDATION]
    weights = [sample.scored for sample in VALIDATION]
    assert loop.measure(VALIDATION) == pytest.approx(np.average(alone, weights=weights), rel=1e-6)
    assert all(value.grad is None for value in student.parameters()), "measuring leaves no gradient"


def test_gradients_are_clipped_to_the_norm_of_the_whole() -> None:
    training = tiny.make_training(optimizer={"maxGradNorm": 0.01}, maxSteps=1)
    record = tiny.run(training, tiny.make_student(), train=TRAIN)
    norm = torch.cat([value.reshape(-1) for value in record.gradients[0].values()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-4)


def test_rate_of_each_step_is_the_schedules() -> None:
    training = tiny.make_training(optimizer={"warmupRatio": 0.5, "learningRate": 0.02}, globalBatchSize=4, epochs=2)
    rates = [point["learningRate"] for point in tiny.run(training, tiny.make_student(), train=TRAIN).state.curve.train]
    assert rates[:3] == pytest.approx([0.02 / 3, 0.04 / 3, 0.02])
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_only_matrices_decay_and_each_trainable_parameter_is_optimised_once() -> None:
    student = tiny.make_student()
    student.language_model.model.embed_tokens.weight.requires_grad_(False)
    groups = make_optimizer(student, tiny.make_training(optimizer={"weightDecay": 0.1})).param_groups
    decay = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
    expected = {id(one): 0.1 if one.dim() > 1 else 0.0 for one in student.parameters() if one.requires_grad}
    assert decay == expected


def test_frozen_parameters_stay_as_they_are() -> None:
    student = tiny.make_student()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    for name, value in student.named_parameters():
        value.requires_grad_("layers.1" in name)
    after = tiny.run(tiny.make_training(**SHORT), student, train=TRAIN).weights
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "layers.1" in name}


def final_divergence(train: Sequence[Sample]) -> float:
    """Return how far a student trained on some samples ends from the true teacher."""
    student = tiny.make_student()
    training = tiny.make_training(globalBatchSize=10, epochs=60, optimizer={"learningRate": 0.02})
    tiny.run(training, student, train=train)
    return Loop(student, training, [], []).measure(TRAIN)


def test_shuffled_teacher_teaches_something_else() -> None:
    """A distillation that ignores the stored distributions would end at the same place."""
    order = np.random.default_rng(0).permutation(sum(sample.scored for sample in TRAIN))
    tops = [
        np.concatenate([getattr(one.top, part) for one in TRAIN])[order] for part in ("ids_TK", "logprobs_TK", "tail_T")
    ]
    shuffled, start = [], 0
    for sample in TRAIN:
        place = slice(start, start + sample.scored)
        top = dataclasses.replace(sample.top, ids_TK=tops[0][place], logprobs_TK=tops[1][place], tail_T=tops[2][place])
        shuffled.append(dataclasses.replace(sample, top=top))
        start = place.stop
    before = Loop(tiny.make_student(), tiny.make_training(), [], []).measure(TRAIN)
    true, false = final_divergence(TRAIN), final_divergence(shuffled)
    assert true < 0.2 * before
    assert false > 5 * true


def test_bf16_halves_the_products_and_keeps_float32_weights() -> None:
    found = {}
    for precision in ("Auto", "FP32", "BF16"):
        record = tiny.run(tiny.make_training(**SHORT, precision=precision), tiny.make_student(), train=TRAIN)
        assert {value.dtype for value in record.weights.values()} == {torch.float32}
        found[precision] = record.losses
    assert found["Auto"] == found["FP32"], "Auto is FP32 on a CPU"
    assert found["BF16"] != found["FP32"]
    assert found["BF16"] == pytest.approx(found["FP32"], rel=0.02)
