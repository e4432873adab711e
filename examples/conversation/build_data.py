"""Write the records of the conversation example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 31
ROWS = {"train": 48, "validation": 16, "test": 24}

SYSTEM = "Name the team for each message."
OPENINGS = ("I noticed the {thing}", "please look at the {thing}", "this concerns the {thing}", "the {thing} came up")
FOLLOW_UPS = ("I mean the {thing} too", "there is the {thing} now", "regarding the {thing} again", "and the {thing}")
# What a customer writes about, and what a person would have answered.
THINGS = {
    "double charge": "billing.fix",
    "new iban": "billing.change",
    "due date": "billing.ask",
    "auto pay": "billing.cancel",
    "reset loop": "account.fix",
    "profile picture": "account.change",
    "missing parcel": "delivery.fix",
    "evening slot": "delivery.change",
    "dark theme": "app.change",
    "crash report": "app.fix",
    "dead battery": "device.fix",
    "serial number": "device.ask",
    "family tier": "plan.change",
    "free trial": "plan.cancel",
}


def draw_turns(rng: random.Random) -> list[dict[str, str]]:
    """A system turn, then two or three user turns with an assistant turn between each two."""
    things = rng.sample(sorted(THINGS), rng.randint(2, 3))
    turns = [{"role": "system", "content": SYSTEM}]
    for place, thing in enumerate(things):
        if place > 0:
            turns.append({"role": "assistant", "content": THINGS[things[place - 1]]})
        sentence = rng.choice(FOLLOW_UPS if place > 0 else OPENINGS).format(thing=thing)
        turns.append({"role": "user", "content": f"{sentence[0].upper()}{sentence[1:]}."})
    return turns


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            turns = draw_turns(rng)
            if (text := json.dumps(turns)) not in seen:
                seen.add(text)
                lines.append(json.dumps({"id": f"{name}-{len(lines) + 1:03d}", "messages": turns}))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
