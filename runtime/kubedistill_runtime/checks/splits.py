"""Splits: holding out, duplicates, lengths, samples, and the minimum size of each split."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from kubedistill.errors import InvalidData
from kubedistill_runtime.records import SPLITS, Message, Record, Split

MIN_RECORDS: dict[Split, int] = {"train": 16, "validation": 4, "test": 8}
MAX_HELD_OUT = 1000

Drop = Literal["Duplicate", "Conflicting"]


def hold_out(records: Sequence[Record], *, seed: int, salt: str) -> tuple[list[Record], list[Record]]:
    """Hold out about min(10 %, 1,000) records, and of each tag its share; returns (rest, held out).

    Records with the same beginning, up to the first user turn, are held out together, since they repeat a prompt or
    continue the same conversation. Groups are chosen in the order of a hash of seed and beginning, as long as each
    brings the number closer to the target. A group with more than twice the target is split by its next user turns,
    since its beginning is rather a greeting than a conversation.

    Groups with the same tags are one stratum. The targets of all strata add up to the total, so a tag that too few
    records have may be held out or not, and what large groups leave open in one stratum is made up for in the next.
    """
    count = min(len(records) // 10, MAX_HELD_OUT)
    chosen: set[str] = set()
    seen, start = 0, _hash(f"{seed}/{salt}") % max(len(records), 1)
    for stratum in _stratify(dict(_group(records, turns=1, most=2 * count))):
        seen += sum(map(len, stratum.values()))
        target = (seen * count + start) // max(len(records), 1)
        for key in sorted(stratum, key=lambda key: hashlib.sha256(f"{seed}/{salt}/{key}".encode()).digest()):
            if len(stratum[key]) <= 2 * (target - len(chosen)):
                chosen.update(record.id for record in stratum[key])
    rest = [record for record in records if record.id not in chosen]
    return rest, [record for record in records if record.id in chosen]


def _stratify(groups: Mapping[str, list[Record]]) -> list[dict[str, list[Record]]]:
    """Return the groups by their tags; strata with the same rare tags are neighbors, so their rounding errors cancel.

    The targets of hold_out are rounded sums over all strata so far (systematic sampling).
    """
    tags = {key: {tag for record in group for tag in record.tags} for key, group in groups.items()}
    common = Counter(tag for found in tags.values() for tag in found)
    strata: dict[tuple[tuple[int, str], ...], dict[str, list[Record]]] = defaultdict(dict)
    for key, group in groups.items():
        strata[tuple(sorted((common[tag], tag) for tag in tags[key]))][key] = group
    return [strata[name] for name in sorted(strata)]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def sample(records: Sequence[Record], *, limit: int | None) -> list[Record]:
    """Return at most `limit` records in their order, chosen by a hash of their ids; without a limit, all of them."""
    ranked = sorted(records, key=lambda record: hashlib.sha256(record.id.encode()).digest())
    chosen = {record.id for record in ranked[:limit]}
    return [record for record in records if record.id in chosen]


def drop_duplicates(records: Sequence[Record], *, labels: Sequence[str]) -> tuple[list[Record], dict[Drop, int]]:
    """Keep one record of each prompt, in the order of the first ones; returns (distinct, numbers dropped by reason).

    For free text, a kept record has the references of all records with equal messages. For labels, it has those that
    all of them share; if they share none, all records of the prompt are dropped as Conflicting. The other records of a
    kept prompt are dropped as Duplicate.
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
    """Yield groups of records with equal messages up to a user turn; groups of more than `most` are split further."""
    groups: dict[tuple[tuple[str, str], ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple((one.role, one.content) for one in _beginning(record, turns=turns))].append(record)
    for beginning, group in groups.items():
        if len(group) > most and any(len(record.messages) > len(beginning) for record in group):
            yield from _group(group, turns=turns + 1, most=most)
        else:
            yield json.dumps(beginning), group


def _beginning(record: Record, *, turns: int) -> tuple[Message, ...]:
    """Return the messages up to a user turn, or all of them if there are fewer."""
    asked = [place for place, message in enumerate(record.messages) if message.role == "user"]
    return record.messages[: asked[turns - 1] + 1] if turns <= len(asked) else record.messages


def _shared(references: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the texts that all lists have, in the order of the first list."""
    first, *others = references or [()]
    return tuple(text for text in dict.fromkeys(first) if all(text in other for other in others))


def drop_long(records: Sequence[Record], *, fits: Callable[[Record], bool]) -> tuple[list[Record], int]:
    """Drop records whose prompt leaves no room for an answer; returns (kept, number dropped)."""
    kept = [record for record in records if fits(record)]
    return kept, len(records) - len(kept)


def check_sizes(
    splits: Mapping[Split, Sequence[Record]],
    *,
    dropped: Mapping[str, Mapping[Split, int]],
    places: Mapping[Split, str],
) -> None:
    """Check that each split has enough records; raises InvalidData."""
    for split in SPLITS:
        least, found = MIN_RECORDS[split], len(splits[split])
        if found < least:
            reasons = {reason: counts[split] for reason, counts in dropped.items() if counts.get(split)}
            after = ", ".join(f"{count} were dropped as {reason}" for reason, count in reasons.items())
            after = f" after {after}" if after else ""
            raise InvalidData(
                f"{found} {split} records are left{after}, but at least {least} are needed",
                at=places[split],
                fix="Raise maxModelLen or shorten the prompts" if "TooLong" in reasons else "Add records",
            )
