"""All sources to one table: path, source, product, split, a cell per head.

Why one table: training, evaluation and the card must agree on what is known of a photo and on
which side of the split it stands. Rules are in taxonomy.toml; `|` joins alternatives.
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
from pathlib import Path

from . import options, split
from .taxonomy import HEADS, Taxonomy

COLUMNS = ("path", "source", "product_id", "split", "title", "content", *HEADS)


def table(photo_root: Path, sources: list[str], seed: int) -> list[dict[str, str]]:
    """The rows of all sources, in the order of the feature cache."""
    taxonomy = Taxonomy()
    out: list[dict[str, str]] = []
    for source in sources:
        rows = split.read_rows(photo_root, source)
        for row, val in zip(rows, split.val_flags(source, rows, seed), strict=True):
            cells = taxonomy.cells(source, row)
            out.append(
                {
                    "path": f"{source}/{row['file']}",
                    "source": source,
                    "product_id": split.group(source, row) if source != "garments" else f"garments:{row['file']}",
                    "split": "val" if val else "train",
                    "title": row.get("productDisplayName") or row.get("ProductTitle") or "",
                    "content": hashlib.sha256((photo_root / source / row["file"]).read_bytes()).hexdigest()[:16],
                    **cells,
                }
            )
    fold_rare(out, taxonomy.rules["category"]["min_photos"])
    return out


def fold_rare(rows: list[dict[str, str]], least: int) -> None:
    """Categories with fewer than `least` photos become other_<department>; alternatives without any photo go."""
    certain = collections.Counter(r["category"] for r in rows if "|" not in r["category"])
    for row in rows:
        parts = row["category"].split("|")
        if len(parts) > 1:
            row["category"] = "|".join(p for p in parts if certain[p] >= least) or ""
        elif row["category"] and certain[row["category"]] < least:
            row["category"] = f"other_{row['department']}" if row["department"] else ""


def write(rows: list[dict[str, str]], path: Path) -> None:
    """The table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path, sources: list[str] | None = None) -> list[dict[str, str]]:
    """The table back, only rows of `sources` where given."""
    with path.open(newline="", encoding="utf-8") as f:
        return [row for row in csv.DictReader(f) if sources is None or row["source"] in sources]


def main() -> None:
    """Write the table and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    args = parser.parse_args()
    rows = table(args.photos, args.sources, args.seed)
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
