"""How often a model answers right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from generator.messages import Message
from generator.posterior import cue_likelihoods, label_posterior
from generator.vocabulary import Vocabulary

BATCH_SIZE = 100
ANSWER_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Score:
    """Fractions of the messages: right answers, and answers that are a label at all."""

    accuracy: float
    valid: float


def score_model(
    model: LlamaForCausalLM,
    *,
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    vocabulary: Vocabulary,
) -> Score:
    """The greedy answers of a model against the labels."""
    answers = answer_texts(model, tokenizer=tokenizer, texts=[message.text for message in messages])
    right = sum(answer == message.draft.label for answer, message in zip(answers, messages, strict=True))
    valid = sum(answer in vocabulary.labels for answer in answers)
    return Score(right / len(messages), valid / len(messages))


def score_oracle(messages: Sequence[Message], *, vocabulary: Vocabulary) -> float:
    """The accuracy of the best possible answers: those of the exact posterior."""
    likelihoods = cue_likelihoods(vocabulary)
    posteriors = [label_posterior(message.draft, likelihoods=likelihoods) for message in messages]
    best = [max(posterior, key=posterior.__getitem__) for posterior in posteriors]
    return sum(answer == message.draft.label for answer, message in zip(best, messages, strict=True)) / len(messages)


@torch.inference_mode()
def answer_texts(model: LlamaForCausalLM, *, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[str]:
    """Greedy answers in batches, padded on the left."""
    answers: list[str] = []
    for start in range(0, len(texts), BATCH_SIZE):
        turns = [[{"role": "user", "content": text}] for text in texts[start : start + BATCH_SIZE]]
        batch = tokenizer.apply_chat_template(
            turns,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            tokenizer_kwargs={"padding_side": "left", "return_token_type_ids": False},
        )
        ids_BT = model.generate(**batch, max_new_tokens=ANSWER_TOKENS, do_sample=False)
        answers += tokenizer.batch_decode(ids_BT[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers
