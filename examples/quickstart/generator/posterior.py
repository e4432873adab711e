"""The exact answer: how probable each label is, given what a message says.

Bayes' rule over the generator's own draws, with all labels equally likely before. Two small gaps are known: drafts that
no wording fits are drawn anew (a slight preference for short phrases), and typos are read as if they were not there, so
for misspelt messages this is an upper bound.
"""

import math
from collections.abc import Mapping

from generator.messages import Draft, Kind
from generator.vocabulary import Cue, Vocabulary


def cue_likelihoods(vocabulary: Vocabulary) -> Mapping[str, Mapping[Cue, float]]:
    """P(cue | label) for every label and every cue it can produce."""
    table: dict[str, dict[Cue, float]] = {}
    for label in vocabulary.labels:
        table[label] = {}
        for draw in vocabulary.draws(label):
            for cue in draw.cues:
                table[label][cue] = table[label].get(cue, 0.0) + draw.probability / len(draw.cues)
    return table


def label_posterior(draft: Draft, *, likelihoods: Mapping[str, Mapping[Cue, float]]) -> dict[str, float]:
    """P(label | message) for every label; sums to 1."""
    own = {label: math.prod(row.get(cue, 0.0) for cue in draft.cues) for label, row in likelihoods.items()}
    other = _other_label_likelihoods(draft, likelihoods=likelihoods)
    joint = {label: own[label] * sum(other[x] for x in likelihoods if x != label) for label in likelihoods}
    total = sum(joint.values())
    return {label: value / total for label, value in joint.items()}


def _other_label_likelihoods(draft: Draft, *, likelihoods: Mapping[str, Mapping[Cue, float]]) -> dict[str, float]:
    """P(other cues | other label), up to a common factor; 1 for all where the message has no other cues."""
    if draft.kind is Kind.NEGATION:
        (negated,) = draft.other_cues
        return {label: float(label == negated.owner) for label in likelihoods}
    return {label: math.prod(row.get(cue, 0.0) for cue in draft.other_cues) for label, row in likelihoods.items()}
