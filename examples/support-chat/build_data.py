"""Write the records of the support case study: data/conversations.jsonl, each two of the quickstart's messages."""

import json
import sys
from itertools import islice
from pathlib import Path

QUICKSTART = Path(__file__).parents[1] / "quickstart"
DATA = Path(__file__).parent / "data"
SEED = 614
ROWS = 1_200


def record_of(first: tuple[str, str], second: tuple[str, str], *, name: str) -> dict[str, object]:
    """A conversation about two problems, each a text and its team; the reference is the team for the second one."""
    turns = [
        {"role": "user", "content": first[0]},
        {"role": "assistant", "content": first[1]},
        {"role": "user", "content": second[0]},
    ]
    return {"id": name, "messages": turns, "reference": second[1]}


def main(folder: Path = DATA) -> None:
    sys.path.insert(0, str(QUICKSTART))
    from generator.fragments import Pool
    from generator.messages import generate_messages
    from generator.vocabulary import load_vocabulary

    folder.mkdir(exist_ok=True)
    messages = generate_messages(load_vocabulary(), pool=Pool.JOB, seed=SEED)
    problems = [(message.text, message.draft.label) for message in islice(messages, 2 * ROWS)]
    pairs = enumerate(zip(problems[::2], problems[1::2], strict=True), start=1)
    records = (record_of(first, second, name=f"conversation-{number:05d}") for number, (first, second) in pairs)
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (folder / "conversations.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
