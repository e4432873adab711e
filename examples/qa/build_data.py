"""Write the records of the question-answering example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 32
ROWS = {"train": 48, "validation": 16, "test": 24}

PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo")
ITEMS = ("router", "handset", "charger", "speaker", "camera", "gift card", "second parcel", "return label")
PLACES = ("warehouse", "pickup point", "office", "doorstep", "checkout", "home city")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def draw_question(rng: random.Random) -> tuple[str, str | list[str]]:
    """A passage with a question about it, and its right answer or answers."""
    person, item, place, day = (rng.choice(words) for words in (PEOPLE, ITEMS, PLACES, DAYS))
    passage = f"{person} left the {item} at the {place} on {day}."
    question, reference = rng.choice(
        (
            (f"Who left the {item}?", person),
            (f"What is at the {place}?", [item, f"the {item}"]),
            (f"Where is the {item}?", [place, f"at the {place}", f"the {place}"]),
            ("Which day was it?", [day, f"on {day}"]),
        )
    )
    return f"{passage} {question}", reference


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, reference = draw_question(rng)
            if text not in seen:
                seen.add(text)
                turns = [{"role": "user", "content": text}]
                record = {"id": f"{name}-{len(lines) + 1:03d}", "messages": turns, "reference": reference}
                lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
