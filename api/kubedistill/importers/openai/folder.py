"""The folder that an import writes: records, the lines that were left out, and a job to start from."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from kubedistill.errors import InvalidInput
from kubedistill.files import create_file
from kubedistill.importers.openai.conversion import Conversion
from kubedistill.json_values import Json
from kubedistill.v1alpha1.job import MAX_NAME_LENGTH

_TRAIN, _TEST = "train: {uri: train.jsonl}", "    test: {uri: test.jsonl}\n"
_HELD_OUT = "    # without validation and test, they are held out of train\n"


def write_folder(folder: Path, found: Conversion) -> list[str]:
    """Write a conversion to a folder, and return a line for each file.

    Raises InvalidInput if a file is there already or can't be written.
    """
    left_out: list[Json] = [{"at": one.at, "problem": one.problem, "line": one.line} for one in found.left_out]
    records: dict[str, Sequence[Json]] = {
        "train.jsonl": found.train,
        "test.jsonl": found.test,
        "left-out.jsonl": left_out,
    }
    texts = {name: _lines(values) for name, values in records.items() if values}
    said = {name: f"{len(values):,} {'lines' if values is left_out else 'records'}" for name, values in records.items()}
    texts["job.yaml"] = make_job(found, name=folder.resolve().name)
    said["job.yaml"] = "name your models in it, then run: kubedistill validate"
    for name in texts:
        if (folder / name).exists():
            raise InvalidInput("the file already exists", at=str(folder / name), fix="Name another folder with -o")
    for name, text in texts.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            create_file(folder / name, text)
        except OSError as error:
            problem = f"the file can't be written ({error.strerror})"
            raise InvalidInput(problem, at=str(folder / name), fix="Name another folder with -o") from error
    return [f"{folder / name}: {said[name]}" for name in texts]


def make_job(found: Conversion, *, name: str) -> str:
    """Return the starter of a conversation, with the records as its data.

    The answers are Given if every record has one, because OpenAI's models can't be served.
    """
    text = (files("kubedistill.cli") / "starters" / "conversation.yaml").read_text(encoding="utf-8")
    if found.answered:
        text = text.replace(_TRAIN, "train: {uri: train.jsonl, answers: Given}   # the teacher is only compared")
    if not found.test:
        text = text.replace(_TEST, "")
    else:
        text = text.replace(_HELD_OUT, "    # without validation, it is held out of train\n")
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_NAME_LENGTH].strip("-")
    return text.replace("my-conversation", plain if plain[:1].isalpha() else "from-openai")


def _lines(values: Sequence[Json]) -> str:
    """Return values as JSON lines in ASCII, which any string of an export can be written in."""
    return "".join(json.dumps(value) + "\n" for value in values)
