"""Write the records of the inference example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 33
ROWS = {"train": 48, "validation": 16, "test": 24}

PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo")
ITEMS = ("router", "handset", "charger", "speaker", "camera", "gift card", "second parcel", "return label")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
LABELS = ("entailment", "neutral", "contradiction")


def draw_pair(rng: random.Random) -> tuple[str, str]:
    """A premise with a hypothesis, and what the one says of the other."""
    person, other = rng.sample(PEOPLE, 2)
    item, (day, another_day) = rng.choice(ITEMS), rng.sample(DAYS, 2)
    label = rng.choice(LABELS)
    hypothesis = {
        "entailment": f"Something was returned on {day}.",
        "neutral": f"{other} was there when the {item} was returned.",
        "contradiction": f"The {item} was kept until {another_day}, and nobody but {other} returned it.",
    }[label]
    return f"Premise: {person} returned the {item} on {day}.\nHypothesis: {hypothesis}", label


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, label = draw_pair(rng)
            if text not in seen:
                seen.add(text)
                turns = [{"role": "user", "content": text}]
                record = {"id": f"{name}-{len(lines) + 1:03d}", "messages": turns, "reference": label}
                lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
