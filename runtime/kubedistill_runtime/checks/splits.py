"""Splits: hold-outs where a file is missing, duplicates, lengths, samples, and the least that each split needs."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from kubedistill.errors import InvalidData
from kubedistill_runtime.records import SPLITS, Message, Record, Split

MIN_RECORDS: dict[Split, int] = {"train": 16, "validation": 4, "test": 8}
MAX_HELD_OUT = 1000

Drop = Literal["Duplicate", "Conflicting"]


def hold_out(records: Sequence[Record], *, seed: int, salt: str) -> tuple[list[Record], list[Record]]:
    """Split off about min(10 %, 1,000) records; returns (rest, held out).

    Records that begin alike, up to the first user turn, are held out together: they repeat a prompt, or expand one
    conversation. Groups are taken in the order of a hash of seed and beginning, as long as each brings the number
    nearer to what it should be. A beginning that more than twice as many records have is a greeting rather than a
    conversation: such a group is divided by its next user turns.
    """
    count = min(len(records) // 10, MAX_HELD_OUT)
    groups = dict(_group(records, turns=1, most=2 * count))
    chosen: set[str] = set()
    for key in sorted(groups, key=lambda key: hashlib.sha256(f"{seed}/{salt}/{key}".encode()).digest()):
        if len(groups[key]) <= 2 * (count - len(chosen)):
            chosen.update(record.id for record in groups[key])
    rest = [record for record in records if record.id not in chosen]
    return rest, [record for record in records if record.id in chosen]


def sample(records: Sequence[Record], *, limit: int | None) -> list[Record]:
    """Return at most `limit` records, chosen by a hash of their ids, in their order; without a limit, all of them."""
    ranked = sorted(records, key=lambda record: hashlib.sha256(record.id.encode()).digest())
    chosen = {record.id for record in ranked[:limit]}
    return [record for record in records if record.id in chosen]


def drop_duplicates(records: Sequence[Record], *, labels: Sequence[str]) -> tuple[list[Record], dict[Drop, int]]:
    """Keep one record of each prompt, in the order of the first ones; returns (distinct, numbers dropped by reason).

    Records of free text with equal messages unite their references, which are equally right. Where the answer is a
    label, the references that all of them share stay; a prompt whose references contradict each other is dropped whole
    as Conflicting. The further records of a prompt that is kept are Duplicate.
    """
    by_prompt: dict[tuple[tuple[str, str], ...], list[Record]] = defaultdict(list)
    for record in records:
        by_prompt[tuple((message.role, message.content) for message in record.messages)].append(record)
    distinct: list[Record] = []
    dropped: dict[Drop, int] = {"Duplicate": 0, "Conflicting": 0}
    for same in by_prompt.values():
        judged = [record.references for record in same if record.references]
        references = _shared(judged) if labels else tuple(dict.fromkeys(text for texts in judged for text in texts))
        if judged and not references:
            dropped["Conflicting"] += len(same)
            continue
        dropped["Duplicate"] += len(same) - 1
        distinct.append(replace(same[0], references=references))
    return distinct, dropped


def _group(records: Sequence[Record], *, turns: int, most: int) -> Iterator[tuple[str, list[Record]]]:
    """Records by what they say up to some user turn; a group of more than `most` by one turn more, if it has one."""
    groups: dict[tuple[tuple[str, str], ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple((one.role, one.content) for one in _beginning(record, turns=turns))].append(record)
    for beginning, group in groups.items():
        if len(group) > most and any(len(record.messages) > len(beginning) for record in group):
            yield from _group(group, turns=turns + 1, most=most)
        else:
            yield json.dumps(beginning), group


def _beginning(record: Record, *, turns: int) -> tuple[Message, ...]:
    """The messages up to a user turn, or all where there are fewer."""
    asked = [place for place, message in enumerate(record.messages) if message.role == "user"]
    return record.messages[: asked[turns - 1] + 1] if turns <= len(asked) else record.messages


def _shared(references: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What all of several lists hold, in the order of the first."""
    first, *others = references or [()]
    return tuple(text for text in dict.fromkeys(first) if all(text in other for other in others))


def drop_long(
    records: Sequence[Record], *, count_tokens: Callable[[Record], int], limit: int
) -> tuple[list[Record], int]:
    """Drop records whose prompt leaves no room for an answer; returns (kept, number dropped)."""
    kept = [record for record in records if count_tokens(record) < limit]
    return kept, len(records) - len(kept)


def check_sizes(
    splits: Mapping[Split, Sequence[Record]],
    *,
    dropped: Mapping[str, Mapping[Split, int]],
    places: Mapping[Split, str],
) -> None:
    """Refuse splits that are too small to learn from or to judge by; raises InvalidData."""
    for split in SPLITS:
        least, found = MIN_RECORDS[split], len(splits[split])
        if found < least:
            reasons = {reason: counts[split] for reason, counts in dropped.items() if counts.get(split)}
            after = ", ".join(f"{count} were dropped as {reason}" for reason, count in reasons.items())
            after = f" after {after}" if after else ""
            raise InvalidData(
                f"{found} {split} records are left{after}, and at least {least} are needed",
                at=places[split],
                fix="Raise maxModelLen or shorten the prompts" if "TooLong" in reasons else "Add records",
            )
