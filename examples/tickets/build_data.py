"""Write the records of the ticket example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 44
ROWS = {"train": 48, "validation": 16, "test": 24}

TOPICS = {
    "billing": ("the invoice", "the double charge", "the refund"),
    "account": ("the sign-in", "the duplicate user", "the new address"),
    "delivery": ("the split shipment", "the late parcel", "the pickup point"),
    "app": ("the login screen", "the update", "the help page"),
    "device": ("the hardware", "the old laptop", "the burnt smell"),
    "plan": ("the data limit", "the renewal date", "the wrong tier"),
}
WISHES = {"ask": "some background", "change": "an exchange", "fix": "technical help", "cancel": "an end of it"}
NOTES = ("the router is open already", "I was away for weeks", "the agent was friendly", "we talked yesterday")


def draw_ticket(rng: random.Random) -> dict[str, str | list[str]]:
    """A ticket as a form has it, and the queue that it belongs to."""
    area, wish = rng.choice(list(TOPICS)), rng.choice(list(WISHES))
    notes = rng.sample(NOTES, rng.randrange(3))
    return {"topic": rng.choice(TOPICS[area]), "wish": WISHES[wish], "notes": notes, "reference": f"{area}.{wish}"}


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            ticket = draw_ticket(rng)
            if json.dumps(ticket) not in seen:
                seen.add(json.dumps(ticket))
                lines.append(json.dumps({"id": f"{name}-{len(lines) + 1:03d}", **ticket}))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
