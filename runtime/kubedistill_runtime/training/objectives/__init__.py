"""Objectives: what the student learns to imitate. Each objective is a file with its loss and a row in OBJECTIVES.

Nothing here imports torch: Prepare and `kubedistill validate` choose an objective without it.
"""

from kubedistill_runtime.training.objectives.objective import Objective
from kubedistill_runtime.training.objectives.requirements import (
    free_replies,
    one_tokenizer,
    stored_logprobs,
    teacher_answers,
    whole_replies,
)

# The strongest first: Auto uses the first one whose requirements are met; the last one has none.
OBJECTIVES: dict[str, Objective] = {
    "CachedLogits": Objective(
        module="cached_logits",
        requirements=(teacher_answers, whole_replies, free_replies, one_tokenizer, stored_logprobs),
        reason="teacher and student share a tokenizer",
        weighs_cross_entropy=True,
    ),
    "Sequence": Objective(module="sequence"),
}

__all__ = ["OBJECTIVES", "Objective"]
