"""Precision, recall, NDCG and coverage of lists, and what chance would give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Judged:
    """Means over users who had at least one hit to find; `error` is the standard error of precision.

    `ceiling` is the precision of perfect lists: most users have far fewer than N hits to find.
    """

    users: int
    eligible: int
    precision: float
    error: float
    ceiling: float
    recall: float
    ndcg: float
    coverage: float

    def as_dict(self) -> dict[str, float]:
        """For the report."""
        return asdict(self)


def gains(n: int) -> np.ndarray:
    """What a hit at each rank is worth."""
    return np.asarray(1 / np.log2(np.arange(2, n + 2)))


def judge(lists: Mapping[int, Sequence[int]], hits: Mapping[int, Collection[int]], eligible: int, n: int = 10) -> Judged:
    """`lists`: items of a user, best first; one who has none counts as all wrong. `hits`: what each user went on to take."""
    gain = gains(n)
    ideal = np.cumsum(gain)
    rows, shown = [], set()
    for user, wanted in hits.items():
        listed = list(lists.get(user, ()))[:n]
        shown.update(listed)
        found = [rank for rank, item in enumerate(listed) if item in wanted]
        rows.append((len(found) / n, len(found) / len(wanted), gain[found].sum() / ideal[min(n, len(wanted)) - 1]))
    if not rows:
        return Judged(0, eligible, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    table = np.array(rows)
    precision, recall, ndcg = (float(value) for value in table.mean(0))
    error = float(table[:, 0].std() / np.sqrt(len(rows)))
    ceiling = float(np.mean([min(n, len(wanted)) / n for wanted in hits.values()]))
    return Judged(len(rows), eligible, precision, error, ceiling, recall, ndcg, len(shown) / max(eligible, 1))


def chance(hits: Mapping[int, Collection[int]], eligible: int, n: int = 10) -> Judged:
    """What lists drawn at random are expected to get."""
    if not hits or not eligible:
        return Judged(len(hits), eligible, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    gain = gains(n)
    ideal = np.cumsum(gain)
    wanted = np.array([len(w) for w in hits.values()])
    each = wanted / eligible
    ndcg = each * gain.sum() / ideal[np.minimum(wanted, n) - 1]
    covered = 1 - (1 - min(n / eligible, 1.0)) ** len(hits)
    ceiling, recall = float(np.minimum(wanted, n).mean() / n), min(n / eligible, 1.0)
    return Judged(len(hits), eligible, float(each.mean()), 0.0, ceiling, recall, float(ndcg.mean()), float(covered))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, equal values sharing their mean rank; 0 where one of them does not vary."""

    def ranks(x: np.ndarray) -> np.ndarray:
        _, place, count = np.unique(x, return_inverse=True, return_counts=True)
        return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])

    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
