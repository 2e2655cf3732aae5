"""Near-duplicate photos, found by small pictures of them, so that they stand on one side of the split.

Why: shops file one photo under several ids, and re-sized or re-compressed copies; a model that trained on one half of
such a pair is measured on the other with flattery. Candidates share a piece of a difference hash, pairs are decided on
the thumbnails, so that the work grows with the number of photos and not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

U8 = NDArray[np.uint8]
SIDE = 24
#: Difference of two thumbnails over what stands out in them (both means of absolute values; a white shirt on white hardly
#: stands out, so a difference alone will not do), up to which they count as one photo. Looked at on the sets in use:
#: below 0.04 copies, to 0.08 the same shot in another color, from there on also other products of one cut.
SAME = 0.05
#: A piece of the hash that more photos than this share (white margins) says nothing.
CROWD = 400
PIECES = 16


def thumbnail(image: Image.Image) -> U8:
    """(SIDE, SIDE, 3)."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)


def hashes(thumbs: U8) -> NDArray[np.int64]:
    """(n, PIECES): which of two neighbours of a 17x16 grey picture is lighter, 16 bits a row; a row is a piece."""
    gray = thumbs.astype(np.float32).mean(3)
    at = np.linspace(0, SIDE - 1, 17).round().astype(int)
    rows = np.linspace(0, SIDE - 1, PIECES).round().astype(int)
    bits = np.diff(gray[:, rows][:, :, at], axis=2) > 2.0  # more than compression does
    return (bits.astype(np.int64) << np.arange(16)).sum(2)


def pairs(thumbs: U8) -> Iterator[tuple[int, int]]:
    """Near-duplicates (i, j), i < j; each at least once."""
    flat = thumbs.reshape(len(thumbs), -1).astype(np.int16)
    ground = np.median(thumbs.reshape(len(thumbs), -1, 3), axis=1).astype(np.int16)
    out = np.abs(thumbs.astype(np.int16) - ground[:, None, None]).mean((1, 2, 3)).clip(min=1.0)  # what stands out
    codes = hashes(thumbs)
    for piece in range(codes.shape[1]):
        order = np.argsort(codes[:, piece], kind="stable")
        values = codes[order, piece]
        edges = np.flatnonzero(np.diff(values)) + 1
        for group in np.split(order, edges):
            if 2 <= len(group) <= CROWD and codes[group[0], piece] != 0:
                some = flat[group]
                for k in range(len(group) - 1):
                    least = np.minimum(out[group[k + 1 :]], out[group[k]])
                    apart = np.abs(some[k + 1 :] - some[k]).mean(1) / least
                    for j in np.flatnonzero(apart <= SAME):
                        a, b = int(group[k]), int(group[k + 1 + j])
                        yield min(a, b), max(a, b)


class Union:
    """Disjoint sets of 0..n."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def find(self, i: int) -> int:
        """The smallest member of the set of `i`."""
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """One set of two."""
        a, b = self.find(i), self.find(j)
        self.parent[max(a, b)] = min(a, b)
