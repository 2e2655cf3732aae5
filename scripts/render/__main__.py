"""``python -m scripts.render --out testdata --seed 7``: renders the whole catalog of ``plan``."""

from __future__ import annotations

import argparse
import fnmatch
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from .files import row, write, write_manifest
from .picture import render
from .plan import Task, tasks


def _one(task: Task, seed: int, out: Path) -> dict[str, str]:
    return row(task, write(render(task, seed), out))


def main() -> None:
    """Parses arguments, renders, writes."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for photos/, masks/ and manifest.csv")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="*", help="glob over image ids; the manifest is written for '*' alone")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    chosen = [t for t in tasks() if fnmatch.fnmatch(t.image_id, args.only)]
    with ProcessPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(partial(_one, seed=args.seed, out=args.out), chosen))
    if args.only == "*":
        write_manifest(rows, args.out / "manifest.csv")
    print(f"{len(rows)} pictures in {args.out}")


if __name__ == "__main__":
    main()
