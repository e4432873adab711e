"""Fragments: a cue put into words, in three pools that never share a fragment."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum

from generator.vocabulary import Cue, Source, Vocabulary


class Pool(StrEnum):
    """Who may read a fragment: the models' own training, the distillation job, or the test."""

    TEACHER = "teacher"
    JOB = "job"
    TEST = "test"


# The end, exclusive, of each pool's part of 0..99.
POOL_ENDS = {Pool.TEACHER: 50, Pool.JOB: 75, Pool.TEST: 100}
BARE_WEIGHT = 5  # of 20: how often a fragment has no modifier


def pool_of(fragment: str) -> Pool:
    """The pool of a fragment, from its sha256 alone."""
    part = int.from_bytes(hashlib.sha256(fragment.encode()).digest()[:4], "big") % 100
    return next(pool for pool, end in POOL_ENDS.items() if part < end)


def word_fragments(cue: Cue, *, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Every wording of a cue; the bare ones stand in it BARE_WEIGHT times, so that a uniform choice is weighted."""
    templates = vocabulary.action_templates if cue.source is Source.ACTION else vocabulary.topic_templates
    endings = ("",) * BARE_WEIGHT + tuple(f" {modifier}" for modifier in vocabulary.modifiers)
    return tuple(template.format(phrase=cue.phrase) + ending for template in templates for ending in endings)


def fragments_by_cue(vocabulary: Vocabulary, *, pool: Pool) -> Mapping[Cue, tuple[str, ...]]:
    """The wordings of every cue that `pool` may use."""
    return {
        cue: tuple(text for text in word_fragments(cue, vocabulary=vocabulary) if pool_of(text) is pool)
        for cue in vocabulary.all_cues()
    }
