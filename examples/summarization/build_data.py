"""Write the records of the summarization example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 34
ROWS = {"train": 48, "validation": 16, "test": 24}

PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo")
ITEMS = ("router", "handset", "charger", "speaker", "camera", "gift card")
FAULTS = ("arrived late", "was broken", "was the wrong one", "was missing")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
WISHES = ("a refund", "an exchange", "a call back", "a discount")


def draw_message(rng: random.Random) -> tuple[str, str]:
    """A customer's message, and its summary."""
    person, item, fault, day, wish = (rng.choice(words) for words in (PEOPLE, ITEMS, FAULTS, DAYS, WISHES))
    message = f"Hello, {person} here. My {item} {fault}. I called on {day}. I would like {wish}."
    return message, f"{person}'s {item} {fault}; {person} wants {wish}."


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, summary = draw_message(rng)
            if text not in seen:
                seen.add(text)
                turns = [{"role": "user", "content": text}]
                record = {"id": f"{name}-{len(lines) + 1:03d}", "messages": turns, "reference": summary}
                lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
