"""Seeded support messages: draw a label and cues, then put them into words."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from generator.fragments import Pool, fragments_by_cue
from generator.typos import add_typos
from generator.vocabulary import Cue, Source, Vocabulary

HARD_SHARE = 0.2
CUES = (4, 6)
WORDS = range(18, 31)
WORDING_TRIES = 40


class Kind(StrEnum):
    """How the message hides its label; all but PLAIN are hard."""

    PLAIN = "plain"
    CORRECTION = "correction"  # first about another label, then corrected
    PRIORITY = "priority"  # two labels, one of them urgent
    NEGATION = "negation"  # names what it is not about
    TYPOS = "typos"


HARD_KINDS = (Kind.CORRECTION, Kind.PRIORITY, Kind.NEGATION, Kind.TYPOS)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a message will say: `cues` speak for `label`, `other_cues` for another label (or against it: NEGATION).

    `swapped` moves the other cues in PRIORITY and NEGATION, and means nothing to the label.
    """

    label: str
    kind: Kind
    cues: tuple[Cue, ...]
    other_cues: tuple[Cue, ...] = ()
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A draft in words; `fragments` are the pooled parts of `text` before case and typos."""

    text: str
    draft: Draft
    fragments: tuple[str, ...]


def seeded_random(seed: int, *, pool: Pool) -> random.Random:
    """One stream of random numbers per seed and pool, the same on every machine."""
    return random.Random(f"{seed}-{pool}")


def draw_kind(rng: random.Random) -> Kind:
    return rng.choice(HARD_KINDS) if rng.random() < HARD_SHARE else Kind.PLAIN


def draw_cues(rng: random.Random, *, label: str, count: int, vocabulary: Vocabulary) -> tuple[Cue, ...]:
    """Independent cues for a label."""
    draws = vocabulary.draws(label)
    chosen = rng.choices(draws, weights=[draw.probability for draw in draws], k=count)
    return tuple(rng.choice(draw.cues) for draw in chosen)


def draw_draft(rng: random.Random, *, label: str, kind: Kind, vocabulary: Vocabulary) -> Draft:
    """The cues of one message. The counts do not depend on the label, so the posterior need not know them."""
    count = rng.randint(*CUES)
    if kind in (Kind.PLAIN, Kind.TYPOS):
        return Draft(label, kind, draw_cues(rng, label=label, count=count, vocabulary=vocabulary))
    other = rng.choice([candidate for candidate in vocabulary.labels if candidate != label])
    swapped = rng.random() < 0.5
    if kind is Kind.NEGATION:
        cues = draw_cues(rng, label=label, count=count - 1, vocabulary=vocabulary)
        return Draft(label, kind, cues, (rng.choice(vocabulary.cues_of(Source.OWN, other)),), swapped)
    other_count = rng.randint(1, 2)
    # At most five cues in all, at least three of them for the label: more do not fit the word limit.
    own_count = max(3, min(count - 1, 5 - other_count))
    cues = draw_cues(rng, label=label, count=own_count, vocabulary=vocabulary)
    other_cues = draw_cues(rng, label=other, count=other_count, vocabulary=vocabulary)
    return Draft(label, kind, cues, other_cues, swapped)


def join_fragments(draft: Draft, own: Sequence[str], other: Sequence[str]) -> str:
    """The sentence of a draft, in lower case and without its full stop."""
    said, other_said = ", ".join(own), ", ".join(other)
    match draft.kind:
        case Kind.CORRECTION:
            return f"{other_said}, no sorry, it is actually {said}"
        case Kind.PRIORITY if draft.swapped:
            return f"less urgent: {other_said}; most urgent: {said}"
        case Kind.PRIORITY:
            return f"most urgent: {said}; less urgent: {other_said}"
        case Kind.NEGATION:
            place = 0 if draft.swapped else 1
            return ", ".join([*own[:place], *other, *own[place:]])
        case _:
            return said


def word_draft(rng: random.Random, *, draft: Draft, fragments: Mapping[Cue, Sequence[str]]) -> Message | None:
    """A draft in 18 to 30 words, or None where WORDING_TRIES wordings were all too short or too long.

    Only the wording is drawn again, never the cues: otherwise the label would change how likely a message is kept.
    """
    negated = draft.kind is Kind.NEGATION
    for _ in range(WORDING_TRIES):
        other = [f"not about the {cue.phrase}" if negated else rng.choice(fragments[cue]) for cue in draft.other_cues]
        own = [rng.choice(fragments[cue]) for cue in draft.cues]
        text = join_fragments(draft, own, other)
        if len(text.split()) in WORDS:
            if draft.kind is Kind.TYPOS:
                text = add_typos(rng, text=text)
            pooled = tuple(own) if negated else (*own, *other)
            return Message(f"{text[0].upper()}{text[1:]}.", draft, pooled)
    return None


def generate_messages(vocabulary: Vocabulary, *, pool: Pool, seed: int) -> Iterator[Message]:
    """An endless stream of messages with distinct texts."""
    rng = seeded_random(seed, pool=pool)
    fragments = fragments_by_cue(vocabulary, pool=pool)
    seen: set[str] = set()
    while True:
        kind, label = draw_kind(rng), rng.choice(vocabulary.labels)
        message = None
        while message is None:
            draft = draw_draft(rng, label=label, kind=kind, vocabulary=vocabulary)
            message = word_draft(rng, draft=draft, fragments=fragments)
        if message.text not in seen:
            seen.add(message.text)
            yield message
