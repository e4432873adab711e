"""Write the records of the moderation example: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

import json
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
SEED = 41
ROWS = {"train": 48, "validation": 16, "test": 24}

TOPICS = ("router", "invoice", "delivery", "new app", "headset", "sim card", "repair", "refund", "tariff", "account")
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo")
SITES = ("win-fast.example", "pay-back.example", "top-deal.example", "free-gift.example")
CHANNELS = ("forum", "review", "chat")
MESSAGES = {
    "allowed": (
        "Does anybody know how long the {topic} usually takes?",
        "Thank you {name}, the {topic} works again.",
        "I am not happy with the {topic}, but the staff was friendly.",
        "{name}, could you send me the form for the {topic}?",
    ),
    "harassment": (
        "{name} is too stupid to handle a {topic}.",
        "Shut up {name}, nobody wants your opinion on the {topic}.",
        "People like {name} should not be allowed to touch a {topic}.",
    ),
    "spam": (
        "Best price for your {topic}, only today at {site}!",
        "I made 5,000 a week with one {topic}, see {site}",
        "Follow {site} for free {topic} codes, follow {site} now",
    ),
    "scam": (
        "Your {topic} is locked. Confirm your password at {site} within an hour.",
        "This is {name} from support. Send me the code for your {topic}.",
        "To get the {topic} back, pay a small fee first at {site}.",
    ),
}


def draw_message(rng: random.Random) -> tuple[str, str]:
    """A message, and the label of the rule that it breaks, or allowed."""
    label = rng.choice(list(MESSAGES))
    text = rng.choice(MESSAGES[label])
    return text.format(topic=rng.choice(TOPICS), name=rng.choice(NAMES), site=rng.choice(SITES)), label


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    seen: set[str] = set()
    for name, rows in ROWS.items():
        lines: list[str] = []
        while len(lines) < rows:
            text, label = draw_message(rng)
            if text in seen:
                continue
            seen.add(text)
            record = {
                "id": f"{name}-{len(lines) + 1:03d}",
                "messages": [{"role": "user", "content": text}],
                "reference": label,
                "tags": [rng.choice(CHANNELS)],
            }
            lines.append(json.dumps(record))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
