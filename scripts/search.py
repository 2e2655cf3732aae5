"""A small search of settings by k-fold cross-validation, folds by product, and the rule by which one is picked.

The rule (Breiman et al. 1984, "one standard error"): of all settings whose mean score lies within one standard error of
the best, the one listed first. The list goes from what is known to do toward what is tried, so a setting has to be better
by more than its own noise to be taken.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import dataset, measure, split, train

#: Changes to the settings, the defaults first.
GRID: list[dict[str, float]] = [
    {}, {"dropout": 0.5}, {"smoothing": 0.05}, {"lr": 1e-3}, {"pull_weight": 1.0}, {"hidden": 768},
]  # fmt: skip


def pick(scores: NDArray[np.float64]) -> int:
    """The row of (settings, folds) that the rule takes."""
    mean = scores.mean(1)
    best = int(mean.argmax())
    error = float(scores[best].std(ddof=1) / np.sqrt(scores.shape[1])) if scores.shape[1] > 1 else 0.0
    return int(np.flatnonzero(mean >= mean[best] - error)[0])


def score(net: Any, x: torch.Tensor, photo: NDArray[np.int64], rows: list[dataset.Row], labels: dict[str, list[str]]) -> float:
    """Mean macro-F1 over the heads with at least 20 labeled photos."""
    logits, _ = train.predict(net, x)
    accepted = dataset.targets(rows, labels)
    found = [measure.head(logits[h], accepted[h][photo], t=1.0, cut=0.0, intervals=False) for h in labels]
    return float(np.mean([f["macro_f1"] for f in found if f["n"] >= 20]))


def search(args: argparse.Namespace, x: torch.Tensor, photo: NDArray[np.int64], clean: NDArray[np.int64],
           rows: list[dataset.Row], labels: dict[str, list[str]]) -> dict[str, float]:  # fmt: skip
    """The change of settings to train with. `x` are the views of the photos `photo`, `clean` the rows that hold photos as
    they are: those are judged."""
    fold = np.array([split.fold(rows[i]["product_id"], args.folds) for i in photo])
    scores = np.zeros((len(GRID), args.folds))
    for s, change in enumerate(GRID):
        how = argparse.Namespace(**{**vars(args), **change, "epochs": args.epochs_search, "bank": 0})
        for k in range(args.folds):
            own = np.flatnonzero(fold != k)
            held = clean[fold[clean] == k]
            net, _ = train.fit(how, x[torch.from_numpy(own)], photo[own], rows, labels)
            scores[s, k] = score(net, x[torch.from_numpy(held)], photo[held], rows, labels)
        print(f"{change or 'defaults'}: macro-F1 {scores[s].mean():.4f}, folds {np.round(scores[s], 4).tolist()}", flush=True)
    taken = pick(scores)
    print(f"taken: {GRID[taken] or 'defaults'}", flush=True)
    return GRID[taken]
