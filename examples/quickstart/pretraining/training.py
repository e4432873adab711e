"""A plain training loop on one device, for models small enough to train on a laptop."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

log = logging.getLogger(__name__)

PROMPT_SHARE = 0.3  # of the loss, beside the answer: the prompts teach the words
WARMUP, FINAL_RATE = 0.05, 0.05  # of the steps, of the learning rate
MAX_GRADIENT_NORM = 1.0
LOG_STEPS = 100


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids; those from `answer_start` on are the answer."""

    ids: tuple[int, ...]
    answer_start: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train."""

    epochs: float
    batch_size: int
    learning_rate: float


def prompt_example(text: str, *, tokenizer: PreTrainedTokenizerFast) -> Example:
    """A message alone, for language modelling."""
    ids = render_ids(tokenizer, text=text, prompt=False)
    return Example(ids, len(ids))


def answered_example(text: str, *, answer: str, tokenizer: PreTrainedTokenizerFast) -> Example:
    """A message and the answer to give."""
    prompt = render_ids(tokenizer, text=text, prompt=True)
    ids = tokenizer.encode(answer + tokenizer.eos_token, add_special_tokens=False)
    return Example((*prompt, *ids), len(prompt))


def render_ids(tokenizer: PreTrainedTokenizerFast, *, text: str, prompt: bool) -> tuple[int, ...]:
    turns = [{"role": "user", "content": text}]
    return tuple(tokenizer.apply_chat_template(turns, add_generation_prompt=prompt, return_dict=False))


def train_model(
    model: LlamaForCausalLM, *, examples: Sequence[Example], schedule: Schedule, generator: torch.Generator
) -> None:
    """Train in place with AdamW, linear warm-up and cosine decay; the weights are float32."""
    steps = math.ceil(schedule.epochs * len(examples) / schedule.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps=steps))
    model.train()
    batches = draw_batches(examples, size=schedule.batch_size, generator=generator)
    for step in range(1, steps + 1):
        loss = batch_loss(model, batch=next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        if step % LOG_STEPS == 0 or step == steps:
            log.info("step %d of %d, loss %.3f", step, steps, loss.item())
    model.eval()


def rate_at(step: int, *, steps: int) -> float:
    """The part of the learning rate to use at a step."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * progress)) / 2


def draw_batches(examples: Sequence[Example], *, size: int, generator: torch.Generator) -> Iterator[list[Example]]:
    """Batches without end, each epoch in a new order; a last incomplete batch is dropped."""
    while True:
        order = torch.randperm(len(examples), generator=generator).tolist()
        for start in range(0, len(order) - size + 1, size):
            yield [examples[place] for place in order[start : start + size]]


def batch_loss(model: LlamaForCausalLM, *, batch: Sequence[Example]) -> Tensor:
    """Cross-entropy of the answers + PROMPT_SHARE x that of the prompts, each a mean over its own tokens.

    Without answers: of the prompts alone. Padding stands on the right, where causal attention never sees it, so no
    attention mask is needed.
    Shapes: B batch, T tokens but the last, V vocabulary.
    """
    length = max(len(example.ids) for example in batch)
    ids_BT = torch.zeros(len(batch), length, dtype=torch.long)
    prompt_BT, answer_BT = torch.zeros(2, len(batch), length, dtype=torch.bool)
    for row, example in enumerate(batch):
        ids_BT[row, : len(example.ids)] = torch.tensor(example.ids)
        prompt_BT[row, 1 : example.answer_start] = True
        answer_BT[row, example.answer_start : len(example.ids)] = True
    logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
    loss_BT = cross_entropy(logits_BTV.transpose(1, 2), ids_BT[:, 1:], reduction="none")
    prompt_loss = loss_BT[prompt_BT[:, 1:]].mean()
    if not answer_BT.any():
        return prompt_loss
    return loss_BT[answer_BT[:, 1:]].mean() + PROMPT_SHARE * prompt_loss
