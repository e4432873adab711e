"""The losses once more, as dense float64 sums over the whole vocabulary, for autograd to follow.

Shapes: N scored ids, K stored alternatives, V the student's vocabulary, H hidden.
"""

import torch
from torch import Tensor

from kubedistill_runtime.training.batches import Batch
from kubedistill_runtime.training.head import Head


def logits_of(hidden_NH: Tensor, head: Head) -> Tensor:
    """Return what the architecture's own forward makes of hidden states."""
    logits_NV = hidden_NH @ head.weight_VH.T
    if head.bias_V is not None:
        logits_NV = logits_NV + head.bias_V
    logits_NV = logits_NV * head.scale
    return logits_NV if head.softcap is None else head.softcap * torch.tanh(logits_NV / head.softcap)


def cross_entropy(logits_V: Tensor, target: int) -> Tensor:
    """-log q(target)."""
    return -torch.log_softmax(logits_V, 0)[target]


def bucketed_kl(logits_V: Tensor, ids: list[int], logprobs: list[float], tail: float) -> Tensor:
    """sum_K p log(p / q) + r log(r / q_rest), where ids that the student has not count to the rest."""
    q_V = torch.softmax(logits_V, 0)
    mass = torch.tensor(logprobs, dtype=torch.float64).exp()
    mass = mass / mass.sum() * (1 - tail)
    kept = {token: float(p) for token, p in zip(ids, mass, strict=True) if token < len(q_V)}
    others = [token for token in range(len(q_V)) if token not in kept]
    r = 1 - sum(kept.values()) if len(kept) < len(ids) else tail
    if not others:  # the stored ids are all there is, so they share what rounding left over
        kept, r = {token: p / sum(kept.values()) for token, p in kept.items()}, 0.0
    loss = torch.zeros((), dtype=torch.float64)
    for token, p in kept.items():
        if p > 0:
            loss = loss + p * (torch.log(torch.tensor(p, dtype=torch.float64)) - torch.log(q_V[token]))
    if r > 0:
        loss = loss + r * (torch.log(torch.tensor(r, dtype=torch.float64)) - torch.log(q_V[others].sum()))
    return loss


def sum_of_losses(batch: Batch, logits_NV: Tensor, *, objective: str, ce_weight: float) -> Tensor:
    """Return the loss of a batch, row by row."""
    total = logits_NV.sum() * 0
    for row, logits_V in enumerate(logits_NV):
        ce = cross_entropy(logits_V, int(batch.targets_N[row]))
        if objective == "Sequence" or not batch.has_top_N[row]:
            total = total + ce
        else:
            ids, logprobs = batch.top_ids_NK[row].tolist(), batch.top_logprobs_NK[row].double().tolist()
            kl = bucketed_kl(logits_V, ids, logprobs, float(batch.tail_N[row]))
            total = total + (1 - ce_weight) * kl + ce_weight * ce
    return total
