"""Messages as a job reads them: one JSON object a line."""

import json
from itertools import islice
from pathlib import Path

from generator.fragments import Pool
from generator.messages import Message, generate_messages
from generator.vocabulary import load_vocabulary


def record_of(message: Message, *, name: str) -> dict[str, object]:
    turn = {"role": "user", "content": message.text}
    return {"id": name, "messages": [turn], "reference": message.draft.label}


def write_records(path: Path, *, pool: Pool, seed: int, rows: int, skip: int = 0) -> None:
    """Write `rows` records of a seed's stream to `path`, after the first `skip`; the same arguments, the same bytes."""
    messages = generate_messages(load_vocabulary(), pool=pool, seed=seed)
    numbered = enumerate(islice(messages, skip, skip + rows), start=skip + 1)
    lines = [json.dumps(record_of(message, name=f"{pool}-{number:06d}")) for number, message in numbered]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
