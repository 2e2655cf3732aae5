"""Fits the color-name model: CIELAB to probabilities over 12 basic names. Writes src/color/names_table.rs.

Input: lines of `vitrine eval color labels.csv --color-names color_names.csv --where split=train --dump train.jsonl` (the
dominant color of each photo and the names its merchant's label allows), the ISCC-NBS centroids in
src/color/iscc_table.rs, and the grey axis. Needs numpy and torch.

    python -m scripts.fit_color_names train.jsonl
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

NAMES = ["black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "beige"]
ROOM = Path(__file__).parent.parent / "src" / "color"
# How ISCC-NBS hue words map to the twelve; the last word of a centroid's name is its hue.
HUES = {"gray": "grey", "violet": "purple", "olive": "green"}


def lab(rgb: ArrayLike) -> Floats:
    """CIELAB under D65 of sRGB bytes, (..., 3) to (..., 3)."""
    v = np.asarray(rgb, float) / 255
    v = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    m = [[0.433953, 0.376219, 0.189828], [0.212673, 0.715152, 0.072175], [0.017755, 0.109471, 0.872774]]
    t = v @ np.array(m).T
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def features(x: Floats) -> Floats:
    """The same terms as `features` in src/color/names.rs."""
    light, a, b = (x[:, 0] - 50) / 25, x[:, 1] / 25, x[:, 2] / 25
    c = np.hypot(a, b)
    k = c / (c + 0.3)
    h = np.arctan2(b, a)
    wave = [f(n * h) * k for n in (1, 2, 3) for f in (np.cos, np.sin)]
    squares = [light * light, a * a, b * b, light * a, light * b, a * b]
    return np.stack([np.ones_like(light), light, a, b, *squares, c, light * c, k, k * light, *wave], 1)


def anchors() -> tuple[Floats, NDArray[np.float32]]:
    """Colors whose name is not in dispute: ISCC-NBS centroids, the grey axis, the sRGB primaries."""
    colors: list[tuple[int, ...]] = []
    names: list[str] = []
    for name, value in re.findall(r'\("(.+?)", 0x(\w+)\)', (ROOM / "iscc_table.rs").read_text()):
        last = name.split()[-1]
        names.append(HUES.get(last, last))
        colors.append(tuple(int(value[i : i + 2], 16) for i in (0, 2, 4)))
    for v in range(0, 256, 3):
        for _ in range(3):
            colors.append((v, v, v))
            names.append("black" if v < 46 else "white" if v > 228 else "grey")
    for rgb, name in [
        ((255, 0, 0), "red"), ((0, 255, 0), "green"), ((0, 0, 255), "blue"), ((255, 255, 0), "yellow"),
        ((255, 128, 0), "orange"), ((128, 0, 128), "purple"), ((255, 192, 203), "pink"), ((255, 105, 180), "pink"),
        ((0, 255, 255), "blue"), ((255, 0, 255), "pink"), ((20, 30, 70), "blue"), ((245, 245, 220), "beige"),
        ((225, 205, 170), "beige"), ((210, 180, 140), "beige"), ((150, 90, 40), "brown"), ((0, 60, 20), "green"),
    ]:  # fmt: skip
        colors += [rgb] * 4
        names += [name] * 4
    allowed = np.zeros((len(names), 12), np.float32)
    for row, name in zip(allowed, names, strict=True):
        row[NAMES.index(name)] = 1
    return lab(colors), allowed


def fit(x: Floats, allowed: NDArray[np.float32], weight: Floats, decay: float = 2e-4, rounds: int = 400) -> NDArray[np.float32]:
    """Softmax weights that put the most probability on the allowed names."""
    terms, right, weights = (torch.tensor(v, dtype=torch.float32) for v in (x, allowed, weight))
    w = torch.zeros(12, terms.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=rounds, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        p = torch.log_softmax(terms @ w.T, 1)
        value = -(torch.logsumexp(p + torch.log(right + 1e-9), 1) * weights).sum() / weights.sum()
        value = value + decay * (w * w).sum()
        value.backward()
        return value

    optimizer.step(loss)
    fitted: NDArray[np.float32] = w.detach().numpy()
    return fitted


def main() -> None:
    """Fits, prints how often the fit is right, and writes the table."""
    ax, ay = anchors()
    xs, ys, ws = [ax], [ay], [np.full(len(ax), 1.0)]
    if len(sys.argv) > 1:
        rows = [r for r in map(json.loads, Path(sys.argv[1]).read_text().splitlines()) if r["lab"]]
        photo = np.array([r["lab"] for r in rows], float)
        allowed = np.array([[float(name in r["accepted"]) for name in NAMES] for r in rows], np.float32)
        # The measured color of a confident mask is more often the product's.
        xs.append(photo)
        ys.append(allowed)
        ws.append(np.array([float(r["confidence"]) for r in rows]))
    w = fit(features(np.concatenate(xs)), np.concatenate(ys), np.concatenate(ws))
    for x, y, title in zip(xs, ys, ("anchors", "photos"), strict=False):
        hit = y[np.arange(len(y)), (features(x) @ w.T).argmax(1)] > 0
        print(f"{title}: {hit.mean():.3f} of {len(y)}")
    source = f"{len(xs[1])} product photos of the training split" if len(xs) > 1 else "anchors only"
    text = f"""//! Weights of the color-name model, one row a name in the order of `NAMES`.
//! Fitted by `scripts/fit_color_names.py` on merchants' color labels ({source}),
//! on the ISCC-NBS centroids by their hue word and on the grey axis.

/// Terms a name.
pub(super) const FEATURES: usize = {w.shape[1]};

/// Weight of each term of `features`.
#[rustfmt::skip]
pub(super) const WEIGHTS: [[f32; FEATURES]; 12] = [
"""
    for name, row in zip(NAMES, w, strict=True):
        text += "    // " + name + "\n    [" + ", ".join(f"{v:.4f}" for v in row) + "],\n"
    (ROOM / "names_table.rs").write_text(text + "];\n")


if __name__ == "__main__":
    main()
