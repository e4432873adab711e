"""Make the quickstart's teacher and untrained student; about 15 minutes on one core.

Each model is trained into build/quickstart and moved to its place when whole, so an interrupted run leaves no half
model. A model trained before the interruption is not trained again; delete build/quickstart to start from nothing.
"""

import logging
import shutil
import time
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from generator.fragments import Pool
from generator.messages import Message, generate_messages
from generator.vocabulary import load_vocabulary
from pretraining.models import new_model, save_model, student_config, teacher_config
from pretraining.scoring import score_model, score_oracle
from pretraining.tokenizer import train_tokenizer
from pretraining.training import Schedule, answered_example, prompt_example, train_model

log = logging.getLogger("build_models")

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "quickstart"
TEACHER_SEED, STUDENT_SEED, CHECK_SEED = 21, 11, 13
TEACHER_ROWS, STUDENT_ROWS, LABELLED_ROWS, CHECK_ROWS = 60_000, 20_000, 800, 2_000
LABEL_REPEATS = 400  # in the tokenizer's text, so that each area and each action becomes one token


def draw_messages(*, pool: Pool, seed: int, rows: int) -> list[Message]:
    return list(islice(generate_messages(load_vocabulary(), pool=pool, seed=seed), rows))


def build_tokenizer() -> PreTrainedTokenizerFast:
    texts = [message.text for message in draw_messages(pool=Pool.TEACHER, seed=STUDENT_SEED, rows=STUDENT_ROWS)]
    return train_tokenizer([*texts, *(load_vocabulary().labels * LABEL_REPEATS)])


def build_teacher(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A model that reads many labelled messages once."""
    messages = draw_messages(pool=Pool.TEACHER, seed=TEACHER_SEED, rows=TEACHER_ROWS)
    examples = [answered_example(m.text, answer=m.draft.label, tokenizer=tokenizer) for m in messages]
    model = new_model(teacher_config(tokenizer), seed=TEACHER_SEED)
    generator = torch.Generator().manual_seed(TEACHER_SEED)
    schedule = Schedule(epochs=1, batch_size=32, learning_rate=1.5e-3)
    train_model(model, examples=examples, schedule=schedule, generator=generator)
    return model


def build_student(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A small model that knows the language of the messages, and a little of the task."""
    messages = draw_messages(pool=Pool.TEACHER, seed=STUDENT_SEED, rows=STUDENT_ROWS)
    texts = [prompt_example(m.text, tokenizer=tokenizer) for m in messages]
    labelled = [answered_example(m.text, answer=m.draft.label, tokenizer=tokenizer) for m in messages[:LABELLED_ROWS]]
    model = new_model(student_config(tokenizer), seed=STUDENT_SEED)
    generator = torch.Generator().manual_seed(STUDENT_SEED)
    language = Schedule(epochs=1.5, batch_size=64, learning_rate=4e-3)
    train_model(model, examples=texts, schedule=language, generator=generator)
    task = Schedule(epochs=15, batch_size=32, learning_rate=1.5e-3)
    train_model(model, examples=labelled, schedule=task, generator=generator)
    return model


def check_model(folder: Path, *, messages: list[Message]) -> None:
    """Log what the model on disk can do on messages nobody trained on."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    score = score_model(model, tokenizer=tokenizer, messages=messages, vocabulary=load_vocabulary())
    log.info(
        "%s: %d parameters, %.2f MB, accuracy %.4f, valid answers %.4f",
        *(folder.name, model.num_parameters(), folder_megabytes(folder), score.accuracy, score.valid),
    )


def folder_megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def replace_folder(folder: Path, *, source: Path) -> None:
    """Put a copy of `source` at `folder`, never half of it."""
    copy = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    shutil.rmtree(folder, ignore_errors=True)
    copy.rename(folder)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    disable_progress_bar()
    torch.set_num_threads(1)  # the models are too small to gain from more, and results are the same everywhere
    check = draw_messages(pool=Pool.TEST, seed=CHECK_SEED, rows=CHECK_ROWS)
    log.info("oracle: accuracy %.4f", score_oracle(check, vocabulary=load_vocabulary()))
    tokenizer = build_tokenizer()
    for name, build in (("student", build_student), ("teacher", build_teacher)):
        built = BUILD / name
        if not built.exists():
            start = time.monotonic()
            unfinished = BUILD / f"{name}.unfinished"
            save_model(build(tokenizer), tokenizer=tokenizer, folder=unfinished)
            unfinished.rename(built)
            log.info("%s: built in %.0f s", name, time.monotonic() - start)
        replace_folder(HERE / name, source=built)
        check_model(HERE / name, messages=check)


if __name__ == "__main__":
    main()
