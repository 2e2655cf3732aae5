"""A small search of settings by k-fold cross-validation, folds by product, and the rule by which one is picked.

The rule (Breiman et al. 1984, "one standard error"): of all settings whose mean score lies within one standard error of
the best, the one listed first. The list goes from what is known to do toward what is tried, so a setting has to be better
by more than its own noise to be taken.

Every score is on disk as soon as it is known: a search that was stopped goes on with the fit it was at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import dataset, files, measure, options, split

F32 = NDArray[np.float32]
#: Changes to the settings of each recipe, the defaults first. What a recipe adds to the one before it is searched there.
GRIDS: dict[str, list[dict[str, float]]] = {
    "linear": [{}, {"dropout": 0.5}, {"smoothing": 0.05}, {"lr": 1e-3}, {"pull_weight": 1.0}, {"hidden": 1024}],
    "partial": [{}, {"lr_layer4": 1e-4}, {"lr_layer4": 1e-3}, {"dropout": 0.5}],
    "full": [{}, {"lr": 1e-4}, {"lr": 1e-3}, {"dropout": 0.5}],
}
#: Fits with these settings while fold k is held back, and scores it on that fold; None: it was asked to stop.
Fit = Callable[[argparse.Namespace, int], float | None]


def pick(scores: NDArray[np.float64]) -> int:
    """The row of (settings, folds) that the rule takes."""
    mean = scores.mean(1)
    best = int(mean.argmax())
    error = float(scores[best].std(ddof=1) / np.sqrt(scores.shape[1])) if scores.shape[1] > 1 else 0.0
    return int(np.flatnonzero(mean >= mean[best] - error)[0])


def folds(rows: list[dataset.Row], photo: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The fold of each view, by the product of its photo."""
    return np.array([split.fold(rows[i]["product_id"], k) for i in photo])


def score(logits: dict[str, F32], photo: NDArray[np.int64], rows: list[dataset.Row], labels: dict[str, list[str]]) -> float:
    """Mean macro-F1 over the heads with at least 20 labeled photos."""
    accepted = dataset.targets(rows, labels)
    found = [measure.head(logits[h], accepted[h][photo], t=1.0, cut=0.0, intervals=False) for h in labels]
    return float(np.mean([f["macro_f1"] for f in found if f["n"] >= 20]))


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every recipe takes."""
    parser.add_argument("--folds", type=int, default=0, help="folds of a search of the settings first; 0: none")
    parser.add_argument("--scores", type=Path, help="where the search keeps its scores; beside --out where not stated")


def checkpoint(args: argparse.Namespace) -> Path:
    """Of the fit that is on the way: not that of the run itself."""
    path: Path = args.checkpoint
    return path.with_suffix(".search.ckpt")


def search(recipe: str, args: argparse.Namespace, fit: Fit) -> dict[str, float] | None:
    """The change of settings to train with; None where a fit was asked to stop."""
    grid, kept = GRIDS[recipe], args.scores or args.out.with_suffix(".search.json")
    asked = options.fingerprint(args)
    held = json.loads(kept.read_text()) if kept.exists() else {}
    known: dict[str, float] = held.get("scores", {}) if held.get("settings") == asked else {}
    table = np.zeros((len(grid), args.folds))
    for s, change in enumerate(grid):
        how = argparse.Namespace(**{**vars(args), **change})
        for k in range(args.folds):
            name = json.dumps([change, k])
            if name not in known:
                found = fit(how, k)
                if found is None:
                    return None
                known[name] = found
                files.write_text(kept, json.dumps({"settings": asked, "scores": known}, indent=1) + "\n")
            table[s, k] = known[name]
        print(f"{change or 'defaults'}: macro-F1 {table[s].mean():.4f}, folds {np.round(table[s], 4).tolist()}", flush=True)
    taken = pick(table)
    print(f"taken: {grid[taken] or 'defaults'}", flush=True)
    return grid[taken]
