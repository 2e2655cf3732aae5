"""The label table joined with the feature cache: arrays that training and measuring share.

Why: a head needs, for every cached view, the set of labels that count as right; unknown ones are
masked by an empty set. All views of a photo share its product, its split and its labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import features, prepare
from .taxonomy import HEADS

Row = dict[str, str]


@dataclass
class Views:
    """Cached views: features (n, d) f16, and for each the index of its photo in the table."""

    x: NDArray[np.float16]
    photo: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.photo)


def label_sets(rows: list[Row]) -> dict[str, list[str]]:
    """Labels of each head, sorted, as found in the table (a label only in alternatives counts too)."""
    return {head: sorted({part for r in rows for part in r[head].split("|") if part}) for head in HEADS}


def targets(rows: list[Row], labels: dict[str, list[str]]) -> dict[str, NDArray[np.float32]]:
    """Per head (n, labels): 1 for every accepted label; a row of zeros is unknown."""
    out = {}
    for head, names in labels.items():
        index = {name: i for i, name in enumerate(names)}
        accepted = np.zeros((len(rows), len(names)), np.float32)
        for i, row in enumerate(rows):
            for part in row[head].split("|"):
                if part in index:
                    accepted[i, index[part]] = 1
        out[head] = accepted
    return out


def codes(values: list[str]) -> NDArray[np.int64]:
    """Equal strings to equal numbers; the empty string to -1."""
    index = {name: i for i, name in enumerate(sorted(set(values) - {""}))}
    return np.array([index.get(v, -1) for v in values], np.int64)


def cached(cache: Path, rows: list[Row], names: list[str]) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """(source, view, photo of every line of its arrays, or -1 where it is not cached or not in `rows`)."""
    at = {row["path"]: i for i, row in enumerate(rows)}
    for source in sorted({row["source"] for row in rows}):
        listing = cache / source / "paths.txt"
        if not listing.exists():
            continue
        photo = np.array([at.get(f"{source}/{p}", -1) for p in listing.read_text().split("\n")], np.int64)
        for name in names:
            folder = cache / source / name
            if (folder / "done.npy").exists():
                yield source, name, np.where(np.load(folder / "done.npy") == 1, photo, -1)


def views(cache: Path, rows: list[Row], names: list[str], columns: NDArray[np.int64]) -> Views:
    """All cached views called `names` of the photos in `rows`; what is not cached yet is left out."""
    parts: list[NDArray[np.float16]] = []
    photos: list[NDArray[np.int64]] = []
    for source, name, photo in cached(cache, rows, names):
        lines = np.flatnonzero(photo >= 0)
        stored = np.load(cache / source / name / "features.npy", mmap_mode="r")
        block = np.empty((len(lines), len(columns)), np.float16)
        for i in range(0, len(lines), 1024):
            block[i : i + 1024] = stored[lines[i : i + 1024]][:, columns]
        parts.append(block)
        photos.append(photo[lines])
    if not parts:
        return Views(np.zeros((0, len(columns)), np.float16), np.zeros(0, np.int64))
    return Views(np.concatenate(parts), np.concatenate(photos))


def clean_rows(cache: Path, rows: list[Row], names: list[str]) -> NDArray[np.int64]:
    """Which rows of `views(cache, rows, names, ...)` hold photos as they are."""
    out, at = [], 0
    for _, name, photo in cached(cache, rows, names):
        count = int((photo >= 0).sum())
        if name == "clean":
            out.append(np.arange(at, at + count))
        at += count
    return np.concatenate(out) if out else np.zeros(0, np.int64)


def augmented_names(cache: Path) -> list[str]:
    """Names of the augmented views that are in the cache, in order."""
    return sorted({p.name for p in cache.glob("*/aug*")}, key=lambda n: int(n[3:]))


def read(table: Path, sources: list[str]) -> list[Row]:
    """The label table."""
    return prepare.read(table, sources)


def columns(parts: list[str]) -> NDArray[np.int64]:
    """`["l2.mean", "l4.mean"]` to columns of the cache."""
    pairs = tuple((p.split(".")[0], p.split(".")[1]) for p in parts)
    return features.columns(pairs)


def frequent(rows: list[Row], head: str, least: int, source: str) -> set[str]:
    """Labels of a head with at least `least` photos in one source."""
    counts = Counter(r[head] for r in rows if r["source"] == source)
    return {name for name, n in counts.items() if name and n >= least}
