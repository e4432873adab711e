"""The posterior against an enumeration of everything that a tiny generator can do."""

import math
import statistics
from dataclasses import replace
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.fragments import Pool
from generator.messages import Draft, Kind, draw_draft, generate_messages, seeded_random
from generator.posterior import cue_likelihoods, label_posterior
from generator.vocabulary import Cue, Vocabulary, load_vocabulary

TINY = Vocabulary(
    areas=("red", "blue"),
    actions=("up", "down"),
    own={"red.up": ("a", "b"), "red.down": ("c",), "blue.up": ("d", "e", "f"), "blue.down": ("g",)},
    area={"red": ("h",), "blue": ("i", "j")},
    action={"up": ("k", "l"), "down": ("m",)},
    noise=("n", "o"),
    topic_templates=(),
    action_templates=(),
    modifiers=(),
)
# By hand, from the quickstart's page: own .27, each of two siblings .13, area .13, action .11, noise .23.
LISTS = {
    "red.up": [(0.27, "ab"), (0.13, "c"), (0.13, "def"), (0.13, "h"), (0.11, "kl"), (0.23, "no")],
    "red.down": [(0.27, "c"), (0.13, "ab"), (0.13, "g"), (0.13, "h"), (0.11, "m"), (0.23, "no")],
    "blue.up": [(0.27, "def"), (0.13, "g"), (0.13, "ab"), (0.13, "ij"), (0.11, "kl"), (0.23, "no")],
    "blue.down": [(0.27, "g"), (0.13, "def"), (0.13, "c"), (0.13, "ij"), (0.11, "m"), (0.23, "no")],
}
OWN = {"red.up": "ab", "red.down": "c", "blue.up": "def", "blue.down": "g"}


def enumerate_cues(label: str, *, seen: tuple[Cue, ...]) -> float:
    """P(seen | label): all sequences of (list, phrase) that the label can produce, those added that read as `seen`."""
    paths = [(weight / len(phrases), phrase) for weight, phrases in LISTS[label] for phrase in phrases]
    wanted = [cue.phrase for cue in seen]
    return sum(
        math.prod(probability for probability, _ in sequence)
        for sequence in product(paths, repeat=len(seen))
        if [phrase for _, phrase in sequence] == wanted
    )


def enumerate_posterior(draft: Draft) -> dict[str, float]:
    """P(label | draft) by adding up all pairs of a label and another label."""
    joint = dict.fromkeys(LISTS, 0.0)
    for label, other in product(LISTS, LISTS):
        if label == other:
            continue
        said = enumerate_cues(label, seen=draft.cues)
        if draft.kind is Kind.NEGATION:
            phrase = draft.other_cues[0].phrase
            other_said = 1 / len(OWN[other]) if phrase in OWN[other] else 0.0
        else:
            other_said = enumerate_cues(other, seen=draft.other_cues)
        joint[label] += 1 / 4 * 1 / 3 * said * other_said
    total = sum(joint.values())
    return {label: value / total for label, value in joint.items()}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(Kind), label=st.sampled_from(sorted(LISTS)))
def test_posterior_equals_enumeration(seed: int, kind: Kind, label: str):
    draft = draw_draft(seeded_random(seed, pool=Pool.TEST), label=label, kind=kind, vocabulary=TINY)
    draft = replace(draft, cues=draft.cues[:3])  # 10 ^ 6 sequences would take a minute each
    posterior = label_posterior(draft, likelihoods=cue_likelihoods(TINY))
    assert posterior == pytest.approx(enumerate_posterior(draft), abs=1e-12)


def test_draws_follow_the_lists():
    rng = seeded_random(1, pool=Pool.TEST)
    likelihoods = cue_likelihoods(TINY)
    for label in LISTS:
        drafts = [draw_draft(rng, label=label, kind=Kind.PLAIN, vocabulary=TINY) for _ in range(2_000)]
        cues = [cue for draft in drafts for cue in draft.cues]
        for cue, probability in likelihoods[label].items():
            deviation = math.sqrt(probability * (1 - probability) / len(cues))
            assert abs(cues.count(cue) / len(cues) - probability) < 4.5 * deviation


def test_other_label_is_any_but_the_label():
    rng = seeded_random(2, pool=Pool.TEST)
    drafts = [draw_draft(rng, label="red.up", kind=Kind.NEGATION, vocabulary=TINY) for _ in range(3_000)]
    owners = [draft.other_cues[0].owner for draft in drafts]
    for other in ("red.down", "blue.up", "blue.down"):
        assert owners.count(other) / 3_000 == pytest.approx(1 / 3, abs=0.04)


def test_oracle_is_right_as_often_as_it_claims():
    vocabulary = load_vocabulary()
    likelihoods = cue_likelihoods(vocabulary)
    right, confidence = [], []
    for message in islice(generate_messages(vocabulary, pool=Pool.TEST, seed=13), 6_000):
        posterior = label_posterior(message.draft, likelihoods=likelihoods)
        assert math.isclose(sum(posterior.values()), 1)
        best = max(posterior, key=posterior.__getitem__)
        right.append(best == message.draft.label)
        confidence.append(posterior[best])
    assert statistics.mean(right) == pytest.approx(0.92, abs=0.01)
    assert statistics.mean(right) == pytest.approx(statistics.mean(confidence), abs=0.01)
