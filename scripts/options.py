"""Command-line options that every command shares, with their defaults in one place."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .split import SOURCES

REPOSITORY = Path(__file__).resolve().parent.parent


def home() -> Path:
    """Where everything that can be made again is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vitrine"


def add_common(parser: argparse.ArgumentParser) -> None:
    """--photos, --weights, --cache, --table, --sources, --seed."""
    photos = Path(os.environ.get("VITRINE_PHOTOS", REPOSITORY / "../shared/data"))
    weights = REPOSITORY / "../shared/weights/resnet50_w1a2_packed.npz"
    parser.add_argument("--photos", type=Path, default=photos, help="folder of the photo sets (VITRINE_PHOTOS)")
    parser.add_argument("--weights", type=Path, default=weights, help="packed ResNet-50")
    parser.add_argument("--cache", type=Path, default=home() / "features", help="where pooled features are kept")
    parser.add_argument("--table", type=Path, default=home() / "labels.csv", help="label table of prepare")
    parser.add_argument("--sources", type=source_list, default=list(SOURCES),
                        help="comma-separated sets; leave out those whose licence does not suit you")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)


def source_list(text: str) -> list[str]:
    """`a,b` to its names, each checked."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(SOURCES))
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown sources {unknown}; there are {', '.join(SOURCES)}")
    return names
