"""Balance: a cap on the share of the kept answers that have one label or, for free text, one length."""

from collections import Counter
from collections.abc import Collection, Iterable

from kubedistill.errors import LowYield
from kubedistill.v1alpha1 import Spec
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.curation.diversity import label_of, rank
from kubedistill_runtime.curation.words import WORD, weigh_text

REASON = "Overrepresented"


def find_excess(kept: Iterable[AnsweredRecord], spec: Spec) -> frozenset[tuple[str, int]]:
    """Return the fewest answers without which no group has a larger share than maxShare: (record id, sample) pairs.

    Which answers of a group go depends on a hash, not on their order. With one short tuple per answer in memory.
    Raises LowYield if the answers have too few groups.
    """
    share = spec.curation.max_share
    if share is None:
        return frozenset()
    entries = sorted((rank(one), one.record.id, one.sample, group_of(one, spec.task)) for one in kept)
    counts = Counter(group for *_, group in entries)
    cap = find_cap(counts.values(), share)
    if entries and not cap:
        raise LowYield(
            f"the kept answers have {len(counts)} different {'labels' if spec.task.answer_labels else 'lengths'}, so "
            f"one of them has a larger share than maxShare {share:.1%}",
            at="spec.curation.maxShare",
            fix=f"Raise it to more than {1 / len(counts):.3f}, or remove it",
        )
    seen: Counter[str] = Counter()
    excess = set()
    for _, record, sample, group in entries:
        seen[group] += 1
        if seen[group] > cap:
            excess.add((record, sample))
    return frozenset(excess)


def find_cap(counts: Collection[int], share: float) -> int:
    """Return the largest size that each group may have, so that none has a larger share; 0 if there is none."""
    low, high = 0, max(counts, default=0)
    while low < high:  # what remains is concave in the cap, so all smaller caps fit too
        middle = (low + high + 1) // 2
        if middle <= share * sum(min(count, middle) for count in counts):
            low = middle
        else:
            high = middle - 1
    return low


def group_of(answered: AnsweredRecord, task: TaskSpec) -> str:
    """Return the label of an answer or, for free text, its length: 4 is 8 to 15 words, and 5 is 16 to 31."""
    if task.answer_labels:
        return label_of(answered, task) or ""
    return str((sum(weigh_text(turn.text) for turn in answered.answer.turns) // WORD).bit_length())
