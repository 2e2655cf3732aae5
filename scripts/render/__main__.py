"""``python -m scripts.render --out testdata --seed 7``: renders the whole catalog of ``plan``.

``--draw 600 --key NAME`` draws pictures by lot instead, with the labels that ``vitrine eval masks`` reads: the same name
gives the same pictures, another name others. Names of the pictures that the region head learns from begin with ``r``.
"""

from __future__ import annotations

import argparse
import fnmatch
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from .files import label, row, write, write_labels, write_manifest
from .picture import render
from .plan import Task, drawn, tasks


def _one(task: Task, seed: int, out: Path) -> dict[str, str]:
    return row(task, write(render(task, seed), out))


def _drawn(key: str, seed: int, out: Path) -> dict[str, str]:
    picture = render(drawn(key), seed)
    return label(picture, write(picture, out))


def main() -> None:
    """Parses arguments, renders, writes."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for photos/, masks/ and manifest.csv")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="*", help="glob over image ids; the manifest is written for '*' alone")
    parser.add_argument("--draw", type=int, default=0, help="pictures drawn by lot, in place of the catalog")
    parser.add_argument("--key", default="tune", help="name of the lot")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs) as pool:
        if args.draw:
            keys = [f"{args.key}-{k}" for k in range(args.draw)]
            rows = list(pool.map(partial(_drawn, seed=args.seed, out=args.out), keys))
            write_labels(rows, args.out)
        else:
            chosen = [t for t in tasks() if fnmatch.fnmatch(t.image_id, args.only)]
            rows = list(pool.map(partial(_one, seed=args.seed, out=args.out), chosen))
            if args.only == "*":
                write_manifest(rows, args.out / "manifest.csv")
    print(f"{len(rows)} pictures in {args.out}")


if __name__ == "__main__":
    main()
