"""Fits what names a product as a whole: palette statistics to probabilities over 12 basic names. Writes
src/color/vote_table.rs.

Input: lines of `vitrine eval color labels.csv --color-names color_names.csv --where split=train --dump train.jsonl`, of
which only the pixels are used, and the grey axis and ISCC-NBS centroids as plain cloth in several lights, so that a color
that no photo has is still called by its name. `--judge val.jsonl` prints how often other photos are right.

    python -m scripts.fit_color_vote train.jsonl --judge val.jsonl
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import files
from .fit_color_names import NAMES, ROOM, anchors, features

Floats = NDArray[np.float64]
#: Upper ends of the ranges of L in which names are counted apart, and the quantiles of L and chroma.
LIGHTS = (35.0, 65.0)
LIGHTNESS, CHROMA = (0.05, 0.25, 0.5, 0.75, 0.95), (0.25, 0.5, 0.75, 0.95)
HIDDEN = 64
#: What an anchor counts against a photo.
ANCHOR = 0.2
#: Share of each lightness in a plain cloth: lit, flat, in folds.
CLOTH = ((1.06, 0.2), (1.0, 0.5), (0.86, 0.2), (0.7, 0.1))


def name_weights() -> Floats:
    """WEIGHTS of src/color/names_table.rs."""
    text = (ROOM / "names_table.rs").read_text()
    rows = re.findall(r"\[([-\d., \n]+)\]", text[text.index("= [") + 2 :])
    return np.array([[float(v) for v in row.split(",") if v.strip()] for row in rows])


def quantiles(values: Floats, weight: Floats, at: tuple[float, ...]) -> Floats:
    """The least value at or below which each share of the weight lies."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    where = np.minimum(np.searchsorted(below, np.array(at) * below[-1]), len(values) - 1)
    return np.asarray(values[order][where])


def statistics(bins: Floats, names: Floats) -> Floats:
    """The same terms as `statistics` in src/color/vote.rs, of bins (n, 4): L, a, b, weight."""
    lab, weight = bins[:, :3], bins[:, 3] / bins[:, 3].sum()
    raw = features(lab) @ names.T
    p = np.exp(raw - raw.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True) * weight[:, None]
    light = np.searchsorted(LIGHTS, lab[:, 0], side="right")
    ranges = [p[light == k].sum(0) for k in range(len(LIGHTS) + 1)]
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    mean = (lab * weight[:, None]).sum(0)
    return np.concatenate([
        np.log(p.sum(0) + 0.02), *(np.sqrt(r) for r in ranges), quantiles(lab[:, 0], weight, LIGHTNESS) / 50 - 1,
        quantiles(chroma, weight, CHROMA) / 30 - 0.5, mean / 50,
    ])  # fmt: skip


def photos(path: Path, names: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Statistics and accepted names of the photos of a dump."""
    x, y = [], []
    for line in path.read_text().splitlines():
        one: dict[str, Any] = json.loads(line)
        if one["bins"]:
            x.append(statistics(np.array(one["bins"], float), names))
            y.append([name in one["accepted"] for name in NAMES])
    return np.array(x), np.array(y)


def plain(names: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The anchors, each as one flat color and as cloth."""
    lab, allowed = anchors()
    x, y = [], []
    for color, right in zip(lab, allowed, strict=True):
        cloth = np.array([[*(color * light), share] for light, share in CLOTH])
        cloth[:, 0] = cloth[:, 0].clip(0, 100)
        for bins in (np.array([[*color, 1.0]]), cloth):
            x.append(statistics(bins, names))
            y.append(right > 0)
    return np.array(x), np.array(y)


def fit(x: Floats, y: NDArray[np.bool_], weight: Floats, seed: int, epochs: int = 120) -> torch.nn.Sequential:
    """A small network; the loss is -log of the probability of all accepted names."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(0.25), torch.nn.Linear(HIDDEN, len(NAMES))
    )
    given, right, counts = torch.tensor(x, dtype=torch.float32), torch.tensor(y), torch.tensor(weight, dtype=torch.float32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=0.05)
    steps = epochs * -(-len(x) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(128):
            hit = torch.log_softmax(net(given[some]), 1).masked_fill(~right[some], -1e4).logsumexp(1)
            loss = -(hit * counts[some]).sum() / counts[some].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def rows(values: Floats) -> str:
    """Rust rows."""
    return "".join("    [" + ", ".join(f"{v:.4f}" for v in row) + "],\n" for row in values)


def main() -> None:
    """Fit, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = name_weights()
    x, y = photos(args.train, names)
    ax, ay = plain(names)
    mean, std = x.mean(0), x.std(0) + 1e-2
    both, right = np.concatenate([x, ax]), np.concatenate([y, ay])
    weight = np.concatenate([np.ones(len(x)), np.full(len(ax), ANCHOR)])
    net = fit((both - mean) / std, right, weight, args.seed)

    def judged(what: str, some: Floats, accepted: NDArray[np.bool_]) -> None:
        with torch.no_grad():
            said = net(torch.tensor((some - mean) / std, dtype=torch.float32)).argmax(1).numpy()
        print(f"{what}: {accepted[np.arange(len(said)), said].mean():.4f} of {len(said)}")

    judged("anchors", ax, ay)
    judged("trained on", x, y)
    if args.judge:
        judged("judged", *photos(args.judge, names))
    first, last = net[0], net[3]
    assert isinstance(first, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
    w = first.weight.detach().numpy().astype(float) / std
    b = first.bias.detach().numpy().astype(float) - w @ mean
    # Both sides hold their statistics to these: see the test in vote.rs.
    bins = np.array([[62.0, 12.0, -3.0, 2.0], [31.5, 40.0, 22.0, 1.0], [88.0, -1.0, 2.5, 0.5]])
    text = f"""//! Weights of what names a product as a whole: one hidden layer over the statistics of its palette.
//! Fitted by `scripts/fit_color_vote.py` on merchants' labels of {len(x)} product photos of the training split, and on the
//! ISCC-NBS centroids and the grey axis as plain cloth.
#![allow(clippy::approx_constant, reason = "a fitted number may look like a constant")]

/// Statistics of a palette.
pub(super) const STATISTICS: usize = {x.shape[1]};
/// Units of the hidden layer.
pub(super) const HIDDEN: usize = {HIDDEN};

/// Weights of each hidden unit; standardisation is folded in.
#[rustfmt::skip]
pub(super) const FIRST: [[f32; STATISTICS]; HIDDEN] = [
{rows(w)}];

/// Offset of each hidden unit.
#[rustfmt::skip]
pub(super) const FIRST_BIAS: [f32; HIDDEN] = [{", ".join(f"{v:.4f}" for v in b)}];

/// Weights of each name, in the order of `NAMES`.
#[rustfmt::skip]
pub(super) const LAST: [[f32; HIDDEN]; 12] = [
{rows(last.weight.detach().numpy())}];

/// Offset of each name.
#[rustfmt::skip]
pub(super) const LAST_BIAS: [f32; 12] = [{", ".join(f"{v:.4f}" for v in last.bias.detach().numpy())}];

/// Statistics of three bins as the script computes them.
#[cfg(test)]
#[rustfmt::skip]
pub(super) const EXAMPLE: ([[f32; 4]; 3], [f32; STATISTICS]) = (
    {bins.tolist()!s},
    [{", ".join(f"{v:.4f}" for v in statistics(bins, names))}],
);
"""
    files.write_text(ROOM / "vote_table.rs", text)


if __name__ == "__main__":
    main()
