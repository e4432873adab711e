import math
from collections import Counter
from itertools import combinations

import pytest

from generator.fragments import Pool, fragments_by_cue, pool_of, word_fragments
from generator.vocabulary import Source, load_vocabulary

VOCABULARY = load_vocabulary()


def test_24_labels_of_area_and_action():
    assert len(VOCABULARY.labels) == 24
    assert VOCABULARY.labels[0] == "billing.ask"
    assert set(VOCABULARY.own) == set(VOCABULARY.labels)
    assert set(VOCABULARY.area) == set(VOCABULARY.areas)
    assert set(VOCABULARY.action) == set(VOCABULARY.actions)


def test_a_phrase_identifies_its_list():
    uses = Counter((cue.source is Source.ACTION, cue.phrase) for cue in VOCABULARY.all_cues())
    assert [phrase for phrase, count in uses.items() if count > 1] == []


def test_every_list_has_ten_phrases_and_noise_twenty():
    lists = Counter((cue.source, cue.owner) for cue in VOCABULARY.all_cues())
    assert lists.pop((Source.NOISE, "")) == 20
    assert set(lists.values()) == {10}


def test_siblings_share_the_area_or_the_action():
    assert VOCABULARY.siblings("billing.ask") == ("billing.change", "account.ask")
    assert VOCABULARY.siblings("plan.cancel") == ("plan.ask", "billing.cancel")


def test_draws_of_a_label_sum_to_one():
    for label in VOCABULARY.labels:
        assert math.isclose(sum(draw.probability for draw in VOCABULARY.draws(label)), 1)


def test_pools_share_no_fragment_and_leave_none_out():
    pools = {pool: fragments_by_cue(VOCABULARY, pool=pool) for pool in Pool}
    texts = {pool: {text for words in by_cue.values() for text in words} for pool, by_cue in pools.items()}
    for first, second in combinations(Pool, 2):
        assert texts[first].isdisjoint(texts[second])
    every = {text for cue in VOCABULARY.all_cues() for text in word_fragments(cue, vocabulary=VOCABULARY)}
    assert set().union(*texts.values()) == every
    assert all(len(words) >= 20 for by_cue in pools.values() for words in by_cue.values())


@pytest.mark.parametrize(
    ("fragment", "pool"),  # by `printf FRAGMENT | sha256sum`: its first 32 bits mod 100 are 15, 50 and 87
    [
        ("about the tax line", Pool.TEACHER),
        ("about the tax line today", Pool.JOB),
        ("the tax line came up", Pool.TEST),
    ],
)
def test_pool_comes_from_the_fragments_hash(fragment: str, pool: Pool):
    assert pool_of(fragment) is pool
