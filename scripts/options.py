"""Command-line options that every command shares, with their defaults in one place."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

from .sources import PUBLIC

REPOSITORY = Path(__file__).resolve().parent.parent


def home() -> Path:
    """Where everything that can be made again is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vitrine"


def photos_folder() -> Path:
    """Where the public photo sets are, unless told."""
    return Path(os.environ.get("VITRINE_PHOTOS", REPOSITORY / "../shared/data"))


def add_common(parser: argparse.ArgumentParser) -> None:
    """--photos, --weights, --cache, --table, --sources, --own, --seed."""
    weights = REPOSITORY / "../shared/weights/resnet50_w1a2_packed.npz"
    parser.add_argument("--photos", type=Path, default=photos_folder(), help="folder of the public photo sets (VITRINE_PHOTOS)")
    parser.add_argument("--weights", type=Path, default=weights, help="packed ResNet-50")
    parser.add_argument("--cache", type=Path, default=home() / "features", help="where pooled features are kept")
    parser.add_argument("--table", type=Path, default=home() / "labels.csv", help="label table of prepare")
    parser.add_argument("--sources", type=source_list, default=None,
                        help="comma-separated public sets; leave out those whose licence does not suit you; all by default, "
                        "none where only --own is given")  # fmt: skip
    parser.add_argument("--own", type=own_folder, action="append", default=[], metavar="FOLDER",
                        help="a training set of your own (labels.csv and photos); may be given several times")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments, with `sources` naming public sets and your own."""
    return named(parser, parser.parse_args(arguments))


def named(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """`sources` as the names of public sets and your own."""
    chosen = args.sources if args.sources is not None else [] if args.own else list(PUBLIC)
    names = [*chosen, *(folder.name for folder in args.own)]
    if len(set(names)) < len(names):
        parser.error(f"two training sets have one name: {', '.join(names)}")
    args.sources = names
    return args


def source_list(text: str) -> list[str]:
    """`a,b` to its names, each checked."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(PUBLIC))
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown sources {unknown}; there are {', '.join(PUBLIC)}")
    return names


def own_folder(text: str) -> Path:
    """A folder whose name can name a source."""
    folder = Path(text).resolve()
    if not (folder / "labels.csv").is_file():
        raise argparse.ArgumentTypeError(f"{folder} has no labels.csv")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", folder.name) or folder.name in PUBLIC:
        raise argparse.ArgumentTypeError(f"the folder's name {folder.name!r} cannot name a source: letters, digits, _ . - only, "
                                         f"and none of {', '.join(PUBLIC)}")  # fmt: skip
    return folder


def fingerprint(args: argparse.Namespace) -> str:
    """The settings that a checkpoint or a score depends on."""
    ignored = {
        "checkpoint", "checkpoint_minutes", "out", "cloud", "epochs_refit", "bank", "unmeasured", "tau", "device", "photos",
        "weights", "cache", "scores",
    }  # fmt: skip
    return json.dumps({k: str(v) for k, v in sorted(vars(args).items()) if k not in ignored})
