"""How far two training sets are apart, by classical tests, and what that means for whoever reads the report.

A bundle carries the profile of what it was trained on (`training.json`): label counts, and for a fixed sample of photos
their brightness and their embeddings by the bundle's own model. A later set is held against it: chi-squared and PSI for
labels, Kolmogorov-Smirnov for brightness and for each component of the embedding that the older model gives both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from . import dataset, measure, photos
from .taxonomy import HEADS

SAMPLE = 400
#: Components of the embedding that a profile keeps: the first of 256, which no order ranks.
COMPONENTS = 32
#: Usual reading of the population stability index: below 0.1 stable, above 0.25 another population.
PSI_SOME, PSI_MUCH = 0.1, 0.25
ALPHA = 0.05


def sampled(rows: list[dataset.Row]) -> list[int]:
    """The sample of training photos, as indices into the table; the same for the same table."""
    train = [i for i, r in enumerate(rows) if r["split"] == "train"]
    return sorted(np.random.default_rng(0).permutation(train)[:SAMPLE].tolist())


def brightness(file: Path) -> float:
    """Mean luma of a photo, 0 to 1 (BT.601 weights)."""
    pixels = np.asarray(photos.load(file).resize((32, 32)), np.float32)
    return float((pixels @ np.array([0.299, 0.587, 0.114], np.float32)).mean() / 255)


def label_counts(rows: list[dataset.Row]) -> dict[str, dict[str, int]]:
    """Certain labels of training photos by head."""
    out: dict[str, dict[str, int]] = {}
    for head in HEADS:
        certain = [r[head] for r in rows if r["split"] == "train" and r[head] and "|" not in r[head]]
        out[head] = dict(sorted(Counter(certain).items()))
    return out


def profile(rows: list[dataset.Row], said: measure.Answers, sources: list[str], seed: int) -> dict[str, Any]:
    """The profile of a training set; `said` are the bundle's answers to (at least) the sampled photos."""
    at = {int(p): k for k, p in enumerate(said.photo)}
    some = [i for i in sampled(rows) if i in at]
    z = said.z[[at[i] for i in some], :COMPONENTS]
    return {
        "sources": sources, "seed": seed, "photos": sum(r["split"] == "train" for r in rows), "labels": label_counts(rows),
        "brightness": [round(brightness(Path(rows[i]["file"])), 4) for i in some],
        "embedding": [[round(float(v), 4) for v in row] for row in z],
    }  # fmt: skip


@dataclass
class Test:
    """One comparison: statistic, p (None where there is none) and what it means."""

    what: str
    test: str
    value: float
    p: float | None
    meaning: str


def psi(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Population stability index of two distributions over the same bins; a bin is never taken for empty."""
    p, q = np.maximum(a / a.sum(), 1e-4), np.maximum(b / b.sum(), 1e-4)
    return float(((q - p) * np.log(q / p)).sum())


def of_labels(head: str, old: dict[str, int], new: dict[str, int]) -> list[Test]:
    """Chi-squared and PSI; labels too rare for chi-squared (fewer than 5 expected) are taken together."""
    names = sorted(set(old) | set(new))
    if len(names) < 2 or not old or not new:
        return []
    table = np.array([[old.get(n, 0) for n in names], [new.get(n, 0) for n in names]], np.float64)
    share = table.sum(1, keepdims=True) @ table.sum(0, keepdims=True) / table.sum()
    rare = (share < 5).any(0)
    whole = np.concatenate([table[:, ~rare], table[:, rare].sum(1, keepdims=True)], 1) if rare.any() else table
    whole = whole[:, whole.sum(0) > 0]
    index = psi(table[0], table[1])
    size = "much the same" if index < PSI_SOME else "somewhat different" if index < PSI_MUCH else "another population"
    out = [Test(f"labels of {head}", "PSI", index, None, size)]
    if whole.shape[1] >= 2:
        found = stats.chi2_contingency(whole)
        p = float(found.pvalue)
        said = "differ by more than chance" if p < ALPHA else "no difference beyond chance"
        out.append(Test(f"labels of {head}", "chi-squared", float(found.statistic), p, said))
    return out


def of_values(what: str, old: list[float], new: list[float], tests: int = 1) -> Test:
    """Two-sample Kolmogorov-Smirnov; p is multiplied by the number of `tests` made alike (Bonferroni)."""
    found = stats.ks_2samp(old, new)
    p = min(1.0, float(found.pvalue) * tests)
    said = "differ by more than chance" if p < ALPHA else "no difference beyond chance"
    return Test(what, "Kolmogorov-Smirnov", float(found.statistic), p, said)


def compare(old: dict[str, Any], new: dict[str, Any], seen_by_old: NDArray[np.float32]) -> list[Test]:
    """The champion's profile against a new one; `seen_by_old`: the new sample's embeddings by the champion's model."""
    out = [test for head in HEADS for test in of_labels(head, old["labels"].get(head, {}), new["labels"].get(head, {}))]
    if old["brightness"] and new["brightness"]:
        out.append(of_values("brightness", old["brightness"], new["brightness"]))
    then = np.array(old["embedding"], np.float32)
    if len(then) and len(seen_by_old):
        width = min(then.shape[1], seen_by_old.shape[1])
        tests = [of_values(f"component {c}", then[:, c].tolist(), seen_by_old[:, c].tolist(), width) for c in range(width)]
        worst = min(tests, key=lambda t: t.p if t.p is not None else 1.0)
        many = sum(t.p is not None and t.p < ALPHA for t in tests)
        out.append(Test(f"embedding, {width} components", "Kolmogorov-Smirnov", worst.value, worst.p,
                        f"{many} of {width} components differ by more than chance (Bonferroni); the worst is shown"))  # fmt: skip
    return out
