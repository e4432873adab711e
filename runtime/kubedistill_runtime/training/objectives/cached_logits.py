"""CachedLogits: forward KL from the teacher's stored top-k distribution, with one bucket for all other ids.

KL = sum_K p log(p / q) + r log(r / q_rest), with r the teacher's mass outside the K stored ids and q_rest the
student's (bucketed forward KL, which is exact for the stored values; compare the tail terms of arXiv 2503.16870,
section 3). Shapes: N scored ids, K stored alternatives, V vocabulary, H hidden.
"""

import torch
from torch import Tensor

from kubedistill_runtime.training.batches import Batch
from kubedistill_runtime.training.head import Head, sum_over_tiles
from kubedistill_runtime.training.objectives.sequence import cross_entropy_and_gradient


def kl_and_gradient(logits_NV: Tensor, ids_NK: Tensor, logprobs_NK: Tensor, tail_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bucketed forward KL of each position in nats, and its gradient, which takes the place of the logits.

    The gradient is q - p on the K ids and q (1 - r / q_rest) elsewhere. log q_rest is a logsumexp over the ids that
    were not stored, since 1 - sum would lose all precision if the student is confident. Ids beyond the student's
    vocabulary (padded rows of the teacher's head) belong to the tail.
    """
    vocabulary = logits_NV.shape[1]
    known_NK = ids_NK < vocabulary
    place_NK = ids_NK.clamp_max(vocabulary - 1)
    chosen_NK = logits_NV.gather(1, place_NK)

    # From here on, logits_NV has only what was not stored, relative to the largest of it. A tensor of [N, V] is large,
    # so nothing else has this shape.
    erased_NK = torch.where(known_NK, -torch.inf, torch.inf).to(logits_NV.dtype)
    rest_NV = logits_NV.scatter_reduce_(1, place_NK, erased_NK, reduce="amin")
    peak_N = rest_NV.amax(1)
    peak_N = torch.where(torch.isfinite(peak_N), peak_N, 0.0)
    rest_NV.sub_(peak_N[:, None]).exp_()
    sum_N = rest_NV.sum(1)
    rest_N = peak_N + sum_N.log()
    normalizer_N = torch.logaddexp(rest_N, chosen_NK.masked_fill(~known_NK, -torch.inf).logsumexp(1))

    # Stored logprobs were rounded, but the tail was not: scale the K ids to exactly the remaining mass.
    tail_N, mass_NK = tail_N.to(logits_NV.dtype), torch.exp(logprobs_NK.to(logits_NV.dtype))
    mass_NK = mass_NK * ((1.0 - tail_N) / mass_NK.sum(1))[:, None]
    r_N = (tail_N + torch.where(known_NK, 0.0, mass_NK).sum(1)).clamp_max(1.0)
    # If all ids are stored, there is no bucket: a tail from rounding belongs to the stored ids.
    has_tail_N = (r_N > 0) & torch.isfinite(rest_N)
    r_N = torch.where(has_tail_N, r_N, 0.0)
    p_NK = torch.where(known_NK, mass_NK, 0.0)
    p_NK = p_NK * ((1.0 - r_N) / p_NK.sum(1).clamp_min(1e-30))[:, None]

    log_q_NK, log_q_rest_N = chosen_NK - normalizer_N[:, None], rest_N - normalizer_N
    loss_N = (torch.xlogy(p_NK, p_NK) - p_NK * log_q_NK).sum(1)
    loss_N = loss_N + torch.where(has_tail_N, torch.xlogy(r_N, r_N) - r_N * log_q_rest_N, 0.0)

    slope_N = torch.where(torch.isfinite(rest_N), (log_q_rest_N.exp() - r_N) / sum_N, 0.0)
    gradient_NK = torch.where(known_NK, log_q_NK.exp(), 0.0) - p_NK
    return loss_N, rest_NV.mul_(slope_N[:, None]).scatter_add_(1, place_NK, gradient_NK)


def loss(batch: Batch, hidden_NH: Tensor, head: Head, ce_weight: float) -> Tensor:
    """Return the sum of the losses of all scored ids, in nats."""

    def tile_loss(logits_NV: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        stored = batch.top_ids_NK[rows], batch.top_logprobs_NK[rows], batch.tail_N[rows]
        # Where the teacher's distribution is not known (a changed rendering), only the text is used.
        share_N = torch.where(batch.has_top_N[rows], ce_weight, 1.0)
        if not share_N.any():
            return kl_and_gradient(logits_NV, *stored)
        ce_N, ce_gradient_NV = cross_entropy_and_gradient(logits_NV.clone(), batch.targets_N[rows])
        kl_N, kl_gradient_NV = kl_and_gradient(logits_NV, *stored)
        loss_N = torch.where(share_N < 1, (1 - share_N) * kl_N, 0.0) + share_N * ce_N
        return loss_N, (1 - share_N)[:, None] * kl_gradient_NV + share_N[:, None] * ce_gradient_NV

    return sum_over_tiles(hidden_NH, head, tile_loss=tile_loss)
