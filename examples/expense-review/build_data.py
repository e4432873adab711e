"""Write the records of the expense review example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 53
ROWS = {"train": 48, "validation": 16, "test": 24}

LIMITS = {"hotel": 180, "meal": 40, "taxi": 60, "train": 250, "software": 100}
PRIVATE = ("a birthday present", "cinema tickets", "a garden chair", "a holiday flight", "running shoes")
CITIES = ("Oslo", "Turin", "Graz", "Lyon", "Porto", "Ghent")


def draw_claim(rng: random.Random) -> tuple[str, str]:
    """An expense claim, and what a reviewer has to say about it."""
    kind, city, day = rng.choice(list(LIMITS)), rng.choice(CITIES), rng.randint(1, 28)
    limit, finding = LIMITS[kind], rng.choice(("accept", "over-limit", "no-receipt", "private"))
    amount = rng.randint(limit + 5, 2 * limit) if finding == "over-limit" else rng.randint(limit // 3, limit)
    receipt = "no receipt" if finding == "no-receipt" else "receipt attached"
    thing = rng.choice(PRIVATE) if finding == "private" else kind
    return f"{thing}, {city}, day {day}, {amount} EUR of at most {limit} EUR, {receipt}", finding


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, finding = draw_claim(rng)
            if text in seen:
                continue
            seen.add(text)
            turns = [{"role": "user", "content": text}]
            record = {"id": f"{name}-{len(lines) + 1:03d}", "messages": turns, "reference": finding}
            lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
