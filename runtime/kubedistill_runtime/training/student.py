"""The student as a module from ids to a summed loss, so that a wrapper covers both body and head."""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from kubedistill.errors import InvalidModel
from kubedistill.json_values import Json
from kubedistill_runtime.models import Model, cannot_load
from kubedistill_runtime.training.batches import Batch
from kubedistill_runtime.training.head import Head, compute_logits
from kubedistill_runtime.training.objectives import Objective

_AT = "spec.student.model.source"


class Student(nn.Module):
    """A causal language model with an objective on its head."""

    def __init__(self, language_model: PreTrainedModel, *, objective: Objective, ce_weight: float) -> None:
        super().__init__()
        self.language_model = language_model
        self.loss, self.ce_weight = objective.load_loss(), ce_weight

    def forward(self, batch: Batch) -> Tensor:
        """Return the sum of the losses of all scored ids, in nats; only scored positions go through the head."""
        body = self.language_model.get_decoder()
        hidden_BLH = body(input_ids=batch.ids_BL, attention_mask=batch.attention_BL, use_cache=False).last_hidden_state
        hidden_NH = hidden_BLH.reshape(-1, hidden_BLH.shape[-1])[batch.positions_N]
        return self.loss(batch, hidden_NH, read_head(self.language_model), self.ce_weight)


def read_head(language_model: PreTrainedModel) -> Head:
    """Return the head, with the scale and the cap of the architecture's own forward pass."""
    output, config = language_model.get_output_embeddings(), language_model.config
    # Cohere multiplies its logits, Granite divides them, Gemma caps them.
    scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    return Head(output.weight, getattr(output, "bias", None), scale, softcap)


@torch.no_grad()
def check_head(language_model: PreTrainedModel) -> None:
    """Compare the head with the architecture's own forward pass; raises InvalidModel if they differ."""
    ids_BL = torch.arange(4, device=language_model.device)[None]
    own_LV = language_model(input_ids=ids_BL, use_cache=False).logits[0].float()
    hidden_LH = language_model.get_decoder()(input_ids=ids_BL, use_cache=False).last_hidden_state[0]
    head = read_head(language_model)
    ours_LV, _ = compute_logits(hidden_LH, head.weight_VH, head.bias_V, head)
    if not torch.allclose(ours_LV, own_LV, rtol=1e-3, atol=1e-3):
        name = type(language_model).__name__
        raise InvalidModel(f"{name} has an output head that is not supported", at=_AT, fix="Use another architecture")


def load_language_model(model: Model) -> PreTrainedModel:
    """Load a checkpoint in float32, for training.

    Raises InvalidModel if it lacks a weight, which transformers would fill with random numbers, or if it or its head is
    not supported.
    """
    try:
        language_model, found = AutoModelForCausalLM.from_pretrained(
            model.path,
            dtype=torch.float32,
            trust_remote_code=model.trust_remote_code,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # each part of a checkpoint has its own library and errors
        raise cannot_load(model, error, what="checkpoint", at=_AT) from error
    if missing := sorted(found["missing_keys"]):
        problem = f"{model.source} lacks {len(missing)} weights, such as {missing[0]}"
        raise InvalidModel(problem, at=_AT, fix="Download or save it again")
    check_head(language_model)
    return language_model


def save_language_model(language_model: PreTrainedModel, folder: Path, *, dtype: Json) -> None:
    """Convert the model to the checkpoint's original precision, and save it as a transformers folder.

    write_companions writes the other files. The generation config is created again, since transformers refuses to save
    many published ones, such as a temperature without do_sample.
    """
    language_model.generation_config = GenerationConfig.from_model_config(language_model.config)
    language_model.to(getattr(torch, str(dtype or "float32"))).save_pretrained(folder)
