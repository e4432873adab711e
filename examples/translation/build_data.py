"""Write the records of the translation example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 47
ROWS = {"train": 48, "validation": 16, "test": 24}
SYSTEM = "Translate the message into German. Answer with the translation only."

THINGS = {
    "router": "Router",
    "contract": "Vertrag",
    "printer": "Drucker",
    "adapter": "Adapter",
    "speaker": "Lautsprecher",
    "key": "Schlüssel",
}
DAYS = {
    "Monday": "Montag",
    "Tuesday": "Dienstag",
    "Wednesday": "Mittwoch",
    "Thursday": "Donnerstag",
    "Friday": "Freitag",
}
SENTENCES = (
    ("The {thing} arrived on {day}.", "Der {thing} kam am {day} an."),
    ("Please send the {thing} before {day}.", "Bitte schicken Sie den {thing} vor {day}."),
    ("I returned the {thing} last {day}.", "Ich habe den {thing} letzten {day} zurückgegeben."),
    ("Is the {thing} ready on {day}?", "Ist der {thing} am {day} fertig?"),
    ("On {day} the {thing} was still missing.", "Am {day} fehlte der {thing} noch."),
)


def draw_pair(rng: random.Random) -> tuple[str, str]:
    """An English sentence and its translation."""
    (english, german), thing, day = rng.choice(SENTENCES), rng.choice(list(THINGS)), rng.choice(list(DAYS))
    return english.format(thing=thing, day=day), german.format(thing=THINGS[thing], day=DAYS[day])


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, translation = draw_pair(rng)
            if text in seen:
                continue
            seen.add(text)
            turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
            record = {"id": f"{name}-{len(lines) + 1:03d}", "messages": turns, "reference": translation}
            lines.append(json.dumps(record, ensure_ascii=False))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
