"""Write the records of the math example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 33
ROWS = {"train": 48, "validation": 16, "test": 24}

PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo")
ITEMS = ("routers", "handsets", "chargers", "speakers", "cameras", "gift cards", "parcels", "labels")


def draw_problem(rng: random.Random) -> tuple[str, str]:
    """A word problem, and its solution with the answer on a last line after ####."""
    person, item = rng.choice(PEOPLE), rng.choice(ITEMS)
    boxes, each, sold = rng.randint(2, 9), rng.randint(3, 12), rng.randint(1, 5)
    total = boxes * each
    problem = f"{person} has {boxes} boxes with {each} {item} each and sells {sold}. How many {item} are left?"
    solution = f"{boxes} boxes hold {boxes} * {each} = {total}. {total} - {sold} = {total - sold}.\n#### {total - sold}"
    return problem, solution


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, solution = draw_problem(rng)
            if text not in seen:
                seen.add(text)
                turns = [{"role": "user", "content": text}]
                record = {"id": f"{name}-{len(lines) + 1:03d}", "messages": turns, "reference": solution}
                lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
