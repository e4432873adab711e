"""Objectives: loss and gradients equal the dense form of the formula, whatever the head, the tile and the rows."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kubedistill_runtime.training.batches import Batch
from kubedistill_runtime.training.head import TILE_ROWS, Head, sum_over_tiles
from kubedistill_runtime.training.objectives import OBJECTIVES
from kubedistill_runtime.training.objectives.cached_logits import kl_and_gradient
from kubedistill_runtime.training.objectives.sequence import cross_entropy_and_gradient
from support import dense_losses as dense
from support import tiny_training as tiny

V, H, K = tiny.VOCABULARY, 8, 5
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scale of Cohere": {"scale": 0.0625},
    "scale of Granite": {"scale": 1 / 6.0},
    "cap of Gemma": {"softcap": 3.0},
    "all of them": {"bias": True, "scale": 1.7, "softcap": 4.0},
}


def make_head(*, bias: bool = False, scale: float = 1.0, softcap: float | None = None) -> Head:
    generator = torch.Generator().manual_seed(1)
    weight_VH = torch.randn(V, H, generator=generator).requires_grad_()
    bias_V = torch.randn(V, generator=generator).requires_grad_() if bias else None
    return Head(weight_VH, bias_V, scale, softcap)


def make_rows(count: int, *, known: float = 1.0) -> tuple[Batch, Tensor]:
    """Scored ids with their hidden states; a share of them with the teacher's distribution."""
    generator = np.random.default_rng(count)
    top = tiny.make_top(generator, count, k=K)
    has_top_N = torch.from_numpy(generator.random(count) < known)
    empty = torch.zeros(0, dtype=torch.int64)
    batch = Batch(
        ids_BL=empty,
        attention_BL=empty,
        positions_N=empty,
        targets_N=torch.from_numpy(generator.integers(0, V, count)),
        has_top_N=has_top_N,
        top_ids_NK=torch.from_numpy(top.ids_TK).long() * has_top_N[:, None],
        top_logprobs_NK=torch.from_numpy(top.logprobs_TK).float() * has_top_N[:, None],
        tail_N=torch.from_numpy(top.tail_T) * has_top_N,
    )
    return batch, torch.from_numpy(generator.normal(size=(count, H))).float().requires_grad_()


def in_float64(head: Head, hidden_NH: Tensor) -> tuple[Head, Tensor]:
    def twin(value: Tensor) -> Tensor:
        return value.detach().double().requires_grad_()

    bias_V = None if head.bias_V is None else twin(head.bias_V)
    return dataclasses.replace(head, weight_VH=twin(head.weight_VH), bias_V=bias_V), twin(hidden_NH)


def assert_same(batch: Batch, hidden_NH: Tensor, head: Head, *, objective: str, ce_weight: float) -> None:
    """Compare loss and gradients, both per scored id, with autograd on the dense form in float64."""
    count = max(1, len(hidden_NH))
    loss = OBJECTIVES[objective].load_loss()(batch, hidden_NH, head, ce_weight) / count
    exact_head, exact_hidden_NH = in_float64(head, hidden_NH)
    logits_NV = dense.logits_of(exact_hidden_NH, exact_head)
    expected = dense.sum_of_losses(batch, logits_NV, objective=objective, ce_weight=ce_weight) / count
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, **CLOSE)
    for mine, exact in ((hidden_NH, exact_hidden_NH), (head.weight_VH, exact_head.weight_VH)):
        torch.testing.assert_close(mine.grad.double(), exact.grad, **CLOSE)
    if head.bias_V is not None:
        torch.testing.assert_close(head.bias_V.grad.double(), exact_head.bias_V.grad, **CLOSE)


@pytest.mark.parametrize("known", [1.0, 0.6, 0.0])
@pytest.mark.parametrize(
    ("objective", "ce_weight"), [("Sequence", 0.0), ("CachedLogits", 0.0), ("CachedLogits", 0.3), ("CachedLogits", 1.0)]
)
def test_loss_and_gradients_equal_the_dense_form(objective: str, ce_weight: float, known: float) -> None:
    batch, hidden_NH = make_rows(300, known=known)
    assert_same(batch, hidden_NH, make_head(), objective=objective, ce_weight=ce_weight)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_of_head_has_the_right_gradients(kind: str, objective: str) -> None:
    batch, hidden_NH = make_rows(40, known=0.8)
    assert_same(batch, hidden_NH, make_head(**HEADS[kind]), objective=objective, ce_weight=0.25)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_tile_boundaries_change_nothing(count: int, objective: str) -> None:
    batch, hidden_NH = make_rows(count, known=0.9)
    assert_same(batch, hidden_NH, make_head(**HEADS["all of them"]), objective=objective, ce_weight=0.25)


def test_head_meets_one_tile_of_rows_at_a_time() -> None:
    batch, hidden_NH = make_rows(600)
    tiles = []

    def tile_loss(logits_NV: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        tiles.append(len(logits_NV))
        return cross_entropy_and_gradient(logits_NV, batch.targets_N[rows])

    sum_over_tiles(hidden_NH, make_head(), tile_loss=tile_loss)
    assert tiles == [TILE_ROWS, TILE_ROWS, 600 - 2 * TILE_ROWS]


def test_frozen_head_passes_the_same_gradient_to_the_body() -> None:
    gradients = []
    for frozen in (False, True):
        batch, hidden_NH = make_rows(30)
        head = make_head(bias=True)
        head.weight_VH.requires_grad_(not frozen)
        OBJECTIVES["Sequence"].load_loss()(batch, hidden_NH, head, 0.0).backward()
        assert (head.weight_VH.grad is None) == frozen
        gradients.append(hidden_NH.grad)
    assert torch.equal(*gradients)


def test_bfloat16_products_still_sum_in_float32() -> None:
    batch, hidden_NH = make_rows(600)
    exact = OBJECTIVES["CachedLogits"].load_loss()(batch, hidden_NH, make_head(), 0.0)
    rounded_NH = hidden_NH.detach().bfloat16().requires_grad_()
    head = make_head()
    loss = OBJECTIVES["CachedLogits"].load_loss()(batch, rounded_NH, head, 0.0)
    loss.backward()
    assert (loss.dtype, rounded_NH.grad.dtype, head.weight_VH.grad.dtype) == (
        torch.float32,
        torch.bfloat16,
        torch.float32,
    )
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize("shuffled", ["top_ids_NK", "top_logprobs_NK"])
def test_another_teacher_gives_another_loss_and_other_gradients(shuffled: str) -> None:
    batch, hidden_NH = make_rows(64)
    order = torch.from_numpy(np.random.default_rng(0).permutation(64))
    found = []
    for teacher in (batch, dataclasses.replace(batch, **{shuffled: getattr(batch, shuffled)[order]})):
        hidden_NH.grad = None
        loss = OBJECTIVES["CachedLogits"].load_loss()(teacher, hidden_NH, make_head(), 0.0)
        loss.backward()
        found.append((float(loss.detach()), hidden_NH.grad))
    assert abs(found[0][0] - found[1][0]) > 0.1
    assert float((found[0][1] - found[1][1]).abs().max()) > 0.1


def test_loss_is_least_and_flat_where_the_student_is_the_teacher() -> None:
    generator = np.random.default_rng(3)
    logits_NV = torch.from_numpy(generator.normal(0, 2, (20, V)))
    logprobs_NV = torch.log_softmax(logits_NV, 1)
    logprobs_NK, ids_NK = logprobs_NV.topk(K)
    loss_N, gradient_NV = kl_and_gradient(logits_NV.clone(), ids_NK, logprobs_NK, 1 - logprobs_NK.exp().sum(1))
    torch.testing.assert_close(loss_N, torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient_NV, torch.zeros_like(gradient_NV), rtol=0, atol=1e-12)


def test_sure_student_keeps_its_digits() -> None:
    """Here 1 - sum q is exactly 0 in float32, and its logarithm would be -inf."""
    logits_NV = torch.zeros(1, V)
    logits_NV[0, 7] = 60.0
    loss_N, gradient_NV = kl_and_gradient(
        logits_NV.clone(), torch.tensor([[7]]), torch.tensor([[math.log(0.9)]]), torch.tensor([0.1])
    )
    rest = math.log(V - 1) - 60.0
    assert float(loss_N) == pytest.approx(0.9 * math.log(0.9) + 0.1 * (math.log(0.1) - rest), rel=1e-5)
    assert float(gradient_NV[0, 7]) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("count", range(2, 40))
def test_padded_rows_of_the_teachers_head_count_to_the_tail(count: int) -> None:
    """Rounding may give these ids more than all mass; what is left for the last one must not be negative."""
    share = float(np.float16(math.log(1 / count)))
    logits_NV = torch.linspace(-1, 1, V)[None]
    ids, logprobs = [*range(V, V + count), 3], [*[share] * count, -20.0]
    loss_N, gradient_NV = kl_and_gradient(
        logits_NV.clone(), torch.tensor([ids]), torch.tensor([logprobs]), torch.tensor([0.0])
    )
    q_V = torch.softmax(logits_NV[0], 0)
    assert float(loss_N) == pytest.approx(-math.log(1 - float(q_V[3])), abs=1e-5)
    assert torch.isfinite(gradient_NV).all()


finite = st.floats(-15, 15, width=32)


@st.composite
def stored_rows(draw: st.DrawFn) -> tuple[list[float], list[int], list[float], float]:
    """Return a student's logits, and what a teacher of the same or a larger vocabulary stored: ids, logprobs, tail."""
    student, extra = draw(st.integers(2, 12)), draw(st.integers(0, 3))
    logits = draw(st.lists(finite, min_size=student, max_size=student))
    teacher = np.array(draw(st.lists(finite, min_size=student + extra, max_size=student + extra)))
    if draw(st.booleans()):
        teacher[draw(st.integers(0, len(teacher) - 1))] += 25  # so sure that the tail is tiny or rounds to 0
    logprobs = teacher - np.log(np.exp(teacher).sum())
    ids = np.argsort(-logprobs)[: draw(st.integers(1, len(teacher)))]
    tail = np.float32(np.clip(1 - np.exp(logprobs[ids]).sum(), 0, 1))
    tail = draw(st.sampled_from([float(tail), 0.0, 1e-10]))  # vLLM rounds too: the tail may be less than what is left
    return logits, ids.tolist(), logprobs[ids].astype(np.float16).astype(float).tolist(), tail


@settings(deadline=None, max_examples=300)
@given(stored_rows())
def test_any_stored_distribution_has_the_loss_and_the_gradient_of_the_formula(
    row: tuple[list[float], list[int], list[float], float],
) -> None:
    logits, ids, logprobs, tail = row
    logits_NV = torch.tensor([logits])
    loss_N, gradient_NV = kl_and_gradient(
        logits_NV.clone(), torch.tensor([ids]), torch.tensor([logprobs]), torch.tensor([tail])
    )
    exact_V = logits_NV[0].double().requires_grad_()
    expected = dense.bucketed_kl(exact_V, ids, logprobs, tail)
    (slope_V,) = torch.autograd.grad(expected, exact_V)
    torch.testing.assert_close(loss_N[0].double(), expected, **CLOSE)
    torch.testing.assert_close(gradient_NV[0].double(), slope_V, **CLOSE)
    assert float(loss_N) > -1e-5, "a divergence is never negative"
    assert abs(float(gradient_NV.sum())) < 1e-5, "adding a constant to all logits changes nothing"


@settings(deadline=None, max_examples=100)
@given(st.lists(finite, min_size=6, max_size=6), st.lists(finite, min_size=6, max_size=6), st.integers(1, 5))
def test_bucketing_never_adds_divergence(student: list[float], teacher: list[float], k: int) -> None:
    """Data processing: what is merged can only look more alike; with all ids stored it is the full KL."""
    logits_NV = torch.tensor([student], dtype=torch.float64)
    logprobs_NV = torch.log_softmax(torch.tensor([teacher], dtype=torch.float64), 1)
    full = float((logprobs_NV.exp() * (logprobs_NV - torch.log_softmax(logits_NV, 1))).sum())
    losses = []
    for size in (k, 6):
        logprobs_NK, ids_NK = logprobs_NV.topk(size)
        tail_N = (1 - logprobs_NK.exp().sum(1)).clamp(0, 1)
        losses.append(float(kl_and_gradient(logits_NV.clone(), ids_NK, logprobs_NK, tail_N)[0]))
    assert losses[0] <= full + 1e-9
    assert losses[1] == pytest.approx(full, rel=1e-9, abs=1e-9)
