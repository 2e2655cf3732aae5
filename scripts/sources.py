"""Where labeled photos come from: the public sets, and training sets of your own (`vitrine export training-set`).

Why apart from prepare: everything that can be wrong with a row is refused here, by file and line, before any work is
spent. A training set of your own is a folder with `labels.csv`: `file` (below the folder), `product_id`, and where known
`title`, `split` (train or val) and a column a head with the labels of taxonomy.toml, alternatives joined by `|`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import split
from .taxonomy import HEADS, Taxonomy

PUBLIC = ("catalog", "studio", "garments", "home", "worn", "fabric")
OWN_REQUIRED = ("file", "product_id")
OWN_OPTIONAL = ("image_id", "title", "split", *HEADS)


def is_shop(source: str) -> bool:
    """Shop photos, whose many look-alikes have to be told apart: catalog, studio and sets of your own."""
    return source in ("catalog", "studio") or source not in PUBLIC


@dataclass
class Labeled:
    """A photo with its labels, and where both stand."""

    source: str
    name: str  # the file below the source's folder
    file: Path
    line: str  # file and line of the label table, for messages
    group: str  # what must not stand on both sides of the split
    product_id: str
    title: str
    side: str  # "train" or "val" where the table says so
    cells: dict[str, str]


def public(root: Path, source: str, taxonomy: Taxonomy) -> list[Labeled]:
    """The photos of a public set below `root`, ordered by file."""
    table = root / source / "labels.csv"
    out = []
    for number, row in rows(table, ("file",)):
        group = split.group(source, row)
        out.append(Labeled(
            source=source, name=row["file"], file=root / source / row["file"], line=f"{table} line {number}", group=group,
            product_id=group if source != "garments" else f"garments:{row['file']}",
            title=row.get("productDisplayName") or row.get("ProductTitle") or "", side="", cells=taxonomy.cells(source, row),
        ))  # fmt: skip
    return sorted(out, key=lambda item: item.name)


def own(folder: Path, taxonomy: Taxonomy) -> list[Labeled]:
    """The photos of a training set of your own, ordered by file; its name is the folder's."""
    table = folder / "labels.csv"
    out, sides = [], dict[str, tuple[str, str]]()
    for number, row in rows(table, OWN_REQUIRED, OWN_OPTIONAL):
        line = f"{table} line {number}"
        for head in HEADS:
            known = taxonomy.known(head)
            for label in filter(None, row.get(head, "").split("|")):
                if label not in known:
                    names = ", ".join(sorted(known))
                    raise SystemExit(f"{line}: {head} {label!r} is not in taxonomy.toml; there are {names}")
        product, side = row["product_id"], row.get("split", "")
        if not product:
            raise SystemExit(f"{line}: product_id is empty; it keeps the photos of a product on one side of the split")
        if side not in ("", "train", "val"):
            raise SystemExit(f"{line}: split is {side!r}; expected train, val or nothing")
        first, where = sides.setdefault(product, (side, line))
        if first != side:
            raise SystemExit(f"{line}: product {product} is {side or 'free'} here and {first or 'free'} in {where}; a product "
                             "must stand on one side")  # fmt: skip
        if Path(row["file"]).is_absolute() or ".." in Path(row["file"]).parts:
            raise SystemExit(f"{line}: file {row['file']!r} is not below the folder of the table")
        out.append(Labeled(
            source=folder.name, name=row["file"], file=folder / row["file"], line=line, group=f"own:{product}",
            product_id=f"own:{product}", title=row.get("title", ""), side=side, cells={h: row.get(h, "") for h in HEADS},
        ))  # fmt: skip
    return sorted(out, key=lambda item: item.name)


def rows(table: Path, required: tuple[str, ...], optional: tuple[str, ...] | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file; refuses a missing file or column, unknown columns where `optional` lists the others."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise SystemExit(f"{table} cannot be read: {e}") from None
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    columns = reader.fieldnames or []
    missing = [c for c in required if c not in columns]
    unknown = [c for c in columns if optional is not None and c not in (*required, *optional)]
    if missing or unknown:
        names = ", ".join((*required, *(optional or ())))
        raise SystemExit(f"{table}: columns missing {missing}, not known {unknown}; there are {names}")
    seen: dict[str, int] = {}
    try:
        for row in reader:
            if None in row or None in row.values():
                raise SystemExit(f"{table} line {reader.line_num}: expected {len(columns)} cells")
            if row["file"] in seen:
                raise SystemExit(f"{table} line {reader.line_num}: file {row['file']} stands in line {seen[row['file']]} too")
            seen[row["file"]] = reader.line_num
            yield reader.line_num, row
    except csv.Error as e:
        raise SystemExit(f"{table} line {reader.line_num}: {e}") from None
