"""Valid but unusual files, with the pixels that a right decoder finds: ``testdata/odd``.

Written beside the broken files by ``python -m scripts.render.broken``. Truth is the size after orientation and the
sRGB value at points of every quarter, where the picture is flat, so that chroma subsampling does not blur it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from . import odd_jpeg, odd_rest


class Sample(TypedDict):
    """A pixel (upright coordinates), its sRGB and alpha, and the largest allowed difference of a channel."""

    x: int
    y: int
    rgb: list[int]
    alpha: int
    tolerance: int


Case = tuple[bytes, Image.Image, int]


def cases() -> dict[str, Case]:
    """File name to (bytes, the upright picture it must decode to, tolerance)."""
    return dict(sorted({**odd_jpeg.cases(), **odd_rest.cases()}.items()))


def samples(truth: Image.Image, tolerance: int) -> list[Sample]:
    """The points that are checked: the middle of each quarter's outer part, and the center."""
    w, h = truth.size
    pixels = np.asarray(truth.convert("RGBA"))
    out: list[Sample] = []
    for x, y in (
        (w // 6, h // 6),
        (w - 1 - w // 6, h // 6),
        (w // 6, h - 1 - h // 6),
        (w - 1 - w // 6, h - 1 - h // 6),
        (w // 2, h // 2),
    ):
        r, g, b, a = (int(v) for v in pixels[y, x])
        # Transparent pixels are white in the composite; the color below full transparency is nobody's business.
        mixed = [round(255 + (c - 255) * a / 255) for c in (r, g, b)]
        out.append({"x": x, "y": y, "rgb": mixed, "alpha": a, "tolerance": tolerance})
    return out


def write(folder: Path) -> int:
    """Writes every file and ``expected.json``; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, object] = {}
    for name, (data, truth, tolerance) in cases().items():
        (folder / name).write_bytes(data)
        expected[name] = {"width": truth.width, "height": truth.height, "points": samples(truth, tolerance)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return len(expected)
