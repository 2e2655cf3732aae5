"""All sources to one table: path, source, product, split, a cell per head.

Why one table: training, evaluation and the card must agree on what is known of a photo and on which side of the split
it stands; nothing after this reads a source's own labels. Rules are in taxonomy.toml; `|` joins alternatives.
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
import multiprocessing
from pathlib import Path

import numpy as np

from . import duplicates, files, options, photos, sources, split
from .sources import Labeled
from .taxonomy import HEADS, Taxonomy

COLUMNS = ("path", "source", "file", "product_id", "split", "title", "content", *HEADS)
Row = dict[str, str]


def look(item: Labeled) -> tuple[str, duplicates.U8 | None, str]:
    """(hash of the bytes, thumbnail, what is wrong) of a photo."""
    try:
        data = item.file.read_bytes()
        with photos.opened(data) as image:
            return hashlib.sha256(data).hexdigest()[:16], duplicates.thumbnail(image), ""
    except (OSError, ValueError, SyntaxError, photos.TooLarge) as e:
        return "", None, f"{item.line}: photo {item.name}: {e}"


def table(items: list[Labeled], seed: int, workers: int, skip_bad: bool = False) -> list[Row]:
    """One row a photo. Refuses missing and corrupt photos, or leaves them out and says so where `skip_bad`."""
    with multiprocessing.Pool(workers) as pool:
        looks = pool.map(look, items, chunksize=64)
    wrong = [why for _, _, why in looks if why]
    if wrong:
        shown = "\n".join(wrong[:20]) + (f"\nand {len(wrong) - 20} more" if len(wrong) > 20 else "")
        if not skip_bad:
            raise SystemExit(f"{shown}\n{len(wrong)} photos cannot be read; --skip-bad leaves them out")
        print(f"left out:\n{shown}")
    kept = [k for k, (_, thumb, _) in enumerate(looks) if thumb is not None]
    items = [items[k] for k in kept]
    thumbs = np.stack([t for _, t, _ in looks if t is not None]) if kept else np.zeros((0, 1, 1, 3), np.uint8)
    sides = assign([i.group for i in items], [i.side for i in items], list(duplicates.pairs(thumbs)) if kept else [], seed)
    out = []
    for item, side, k in zip(items, sides, kept, strict=True):
        cells = {"path": f"{item.source}/{item.name}", "source": item.source, "file": str(item.file.resolve()),
                 "product_id": item.product_id, "split": side, "title": item.title, "content": looks[k][0]}  # fmt: skip
        out.append({**cells, **item.cells})
    fold_rare(out, Taxonomy().rules["category"]["min_photos"])
    return out


def assign(groups: list[str], wanted: list[str], twins: list[tuple[int, int]], seed: int) -> list[str]:
    """The side of every photo: as its table says, else by the hash of its group; twins pull their groups together.

    Together, a side that a table states wins, train before val.
    """
    names = sorted(set(groups))
    at = {name: k for k, name in enumerate(names)}
    sets = duplicates.Union(len(names))
    for i, j in twins:
        sets.join(at[groups[i]], at[groups[j]])
    sizes = collections.Counter(groups)
    stated: dict[int, str] = {}
    large: dict[int, int] = {}
    for name, side in zip(groups, wanted, strict=True):
        root = sets.find(at[name])
        if side and stated.get(root) != "train":
            stated[root] = side
        if name.startswith("sender:"):
            large[root] = max(large.get(root, 0), sizes[name])
    out = []
    for name in groups:
        root = sets.find(at[name])
        val = split.is_val(names[root], seed, large.get(root, 1))
        out.append(stated.get(root) or ("val" if val else "train"))
    return out


def fold_rare(rows: list[Row], least: int) -> None:
    """Categories with fewer than `least` photos become other_<department>; alternatives without any photo go."""
    certain = collections.Counter(r["category"] for r in rows if "|" not in r["category"])
    for row in rows:
        parts = row["category"].split("|")
        if len(parts) > 1:
            row["category"] = "|".join(p for p in parts if certain[p] >= least) or ""
        elif row["category"] and certain[row["category"]] < least:
            row["category"] = f"other_{row['department']}" if row["department"] else ""


def check(rows: list[Row], heads: list[str]) -> None:
    """Refuses what cannot be trained: nothing at all, one side only, a head with one label."""
    sides = collections.Counter(r["split"] for r in rows)
    if not sides["train"] or not sides["val"]:
        raise SystemExit(f"{sides['train']} photos to train on and {sides['val']} to validate: both are needed")
    for head in heads:
        known = [r for r in rows if r[head] and r["split"] == "train"]
        labels = {part for r in known for part in r[head].split("|")}
        if len(labels) == 1:
            raise SystemExit(f"{head}: all {len(known)} labeled photos are {labels.pop()!r}; a head needs two labels, or none: "
                             f"--without {head} leaves it out")  # fmt: skip


def write(rows: list[Row], path: Path) -> None:
    """The table as CSV, whole or not at all."""
    with files.replacing(path) as staged, staged.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path, names: list[str] | None = None) -> list[Row]:
    """The table back, only rows of the sources `names` where given."""
    if not path.exists():
        raise SystemExit(f"{path} is not there: run scripts.prepare first")
    with path.open(newline="", encoding="utf-8") as f:
        return [row for row in csv.DictReader(f) if names is None or row["source"] in names]


def main() -> None:
    """Write the table and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--without", type=lambda text: text.split(","), default=[], help="heads to leave out")
    parser.add_argument("--skip-bad", action="store_true", help="leave out photos that are missing or cannot be read")
    parser.add_argument("--workers", type=int, default=2)
    args = options.parse(parser)
    taxonomy = Taxonomy()
    items = [item for s in args.sources if s in sources.PUBLIC for item in sources.public(args.photos, s, taxonomy)]
    items += [item for folder in args.own for item in sources.own(folder, taxonomy)]
    rows = table(items, args.seed, args.workers, args.skip_bad)
    for row in rows:
        row.update(dict.fromkeys(args.without, ""))
    check(rows, [h for h in HEADS if h not in args.without])
    write(rows, args.table)
    for source in args.sources:
        sides = collections.Counter(r["split"] for r in rows if r["source"] == source)
        print(f"{source:9} {sides['train']:6} train {sides['val']:5} val")
    for head in HEADS:
        counts = collections.Counter(label for r in rows if r[head] for label in [r[head]])
        print(f"{head}: {sum(counts.values())} known; " + ", ".join(f"{k} {n}" for k, n in counts.most_common(14)))
    print(f"{len(rows)} rows in {args.table}")


if __name__ == "__main__":
    main()
