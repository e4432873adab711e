"""The judgment of a probe: whether the answers to a few records already show that too few will be good enough.

A job ends early only if chance does not explain the answers: if just enough of all prompts had a good answer, so few
among those of the probe would occur less than once in a million probes.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

from scipy.stats import binom

from kubedistill.errors import LowYield
from kubedistill.manifest.problems import quote_value
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.curation.filters import find_rejection, make_single_filters
from kubedistill_runtime.curation.selection import make_selection
from kubedistill_runtime.records import Record
from kubedistill_runtime.tasks.reasoning import to_target
from kubedistill_runtime.teachers.probe import Judge

log = logging.getLogger(__name__)
CERTAIN = 1e-6
_REASONS, _EXAMPLES = 3, 2


@dataclass(slots=True)
class _Findings:
    """What Curate would make of the answers to the records of a probe."""

    records: int = 0
    ended: int = 0
    """Records with an answer that ended by itself."""
    kept: int = 0
    """Records with an answer that passes the filters and is selected."""
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, AnsweredRecord] = field(default_factory=dict)
    """The first answer that was rejected for each reason."""

    def describe(self) -> str:
        """Return how many answers were rejected for which reason, with records as examples.

        More people may read a job than its data, so the answers themselves are only logged.
        """
        top = [reason for reason, _ in self.rejected.most_common(_REASONS)]
        counts = ", ".join(f"{self.rejected[reason]} {reason}" for reason in top)
        shown = [self.examples[reason] for reason in top[:_EXAMPLES]]
        for reason, one in zip(top, shown, strict=False):
            log.warning("%s: the answer to %s", reason, _quote(one))
        return f"{counts}; for example {', '.join(one.record.id for one in shown)}"


def make_judge(spec: Spec, train: Iterable[Record], *, shortest: bool = False) -> Judge:
    """Return the judgment of a job's probes, by the filters and the selection of its curation.

    `train` has the records as Curate reads them; the teacher may have been asked with an instruction in addition.
    """
    records = {record.id: record for record in train}

    def judge(answers: Iterable[AnsweredRecord], total: int) -> bool:
        found = _examine((replace(one, record=records[one.record.id]) for one in answers), spec=spec, shortest=shortest)
        ratios = (
            ("spec.generation.minSuccessRatio", spec.generation.min_success_ratio, found.ended, "that ended by itself"),
            ("spec.curation.minKeepRatio", spec.curation.min_keep_ratio, found.kept, "that Curate would keep"),
        )
        for at, least, count, good in ratios:
            if is_certain(count, found.records, least=least):
                raise LowYield(
                    f"of {found.records} prompts of train, picked from {total:,} by a hash, {count} have an answer "
                    f"{good}, so {least:.1%} cannot be reached ({found.describe()})",
                    at=at,
                    fix="No other prompt was sent. Fix prompts, task or the teacher's settings, or lower the ratio; "
                    "driver.log quotes the answers",
                )
        return found.kept < found.records

    return judge


def is_certain(count: int, records: int, *, least: float) -> bool:
    """Return whether a share of `least` among all records is excluded by `count` good ones among some of them.

    The binomial distribution is a bound: a sample without replacement has lighter tails (Hoeffding 1963).
    """
    return bool(binom.cdf(count, records, least) < CERTAIN)


def _examine(answers: Iterable[AnsweredRecord], *, spec: Spec, shortest: bool) -> _Findings:
    filters, select, found = make_single_filters(spec), make_selection(spec, shortest=shortest), _Findings()
    for _, group in groupby(answers, key=lambda answered: answered.record.id):
        draws = list(group)
        found.records += 1
        if any(_is_unknown(one) for one in draws):
            found.ended += 1
            found.kept += 1
            continue
        found.ended += any(one.answer.ended for one in draws)
        passed = []
        for one in [to_target(draw, spec.task) for draw in draws]:
            reason = find_rejection(one, filters)
            if reason is None:
                passed.append(one)
            else:
                _reject(found, one, reason)
        selected = select(passed)
        found.kept += None in selected
        for one, reason in zip(passed, selected, strict=True):
            if reason is not None:
                _reject(found, one, reason)
    return found


def _reject(found: _Findings, answered: AnsweredRecord, reason: str) -> None:
    found.rejected[reason] += 1
    found.examples.setdefault(reason, answered)


def _is_unknown(answered: AnsweredRecord) -> bool:
    """Return whether an endpoint failed to answer, which says nothing of its later answers."""
    return any(turn.finish == "failed" for turn in answered.answer.turns)


def _quote(answered: AnsweredRecord) -> str:
    turns = answered.answer.turns
    return f"{answered.record.id}: {quote_value(turns[-1].text) if turns else 'no answer'}"
