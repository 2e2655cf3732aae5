"""Files that are whole or absent: written beside their place, flushed to disk, then renamed.

Why: a training machine may vanish at any instant, and a half-written checkpoint or bundle must never be read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends well and is removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    try:
        yield staged
        with staged.open("rb+") as f:
            os.fsync(f.fileno())
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An npz file."""
    with replacing(path) as staged, staged.open("wb") as f:
        np.savez(f, **dict(arrays))


def write_text(path: Path, text: str) -> None:
    """A text file."""
    with replacing(path) as staged:
        staged.write_text(text, encoding="utf-8")
