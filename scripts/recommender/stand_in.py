"""``python -m scripts.recommender.stand_in OUT --items 20000``: a feature export drawn by numpy.

To try the job without a catalog. Embeddings are unit vectors around centers of kinds and styles. The export has a full
partition and an increment with changed products and tombstones.
"""

from __future__ import annotations

import argparse
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .features import MANIFEST, SCHEMA

WIDTH = 256
COLORS = ["black", "white", "gray", "blue", "red", "green", "brown", "beige", "pink", "yellow", "purple", "orange"]
GENDERS = ["women", "men", "unisex", "girls", "boys"]
PATTERNS = ["solid", "striped", "checkered", "floral", "dotted"]
TEXT, F32 = pa.string(), pa.float32()
ATTRIBUTE = pa.struct([("name", TEXT), ("value", TEXT), ("confidence", F32), ("source", TEXT)])
COLOR = pa.struct([("name", TEXT), ("retail_name", TEXT), ("shade", TEXT), ("hex", TEXT),
                   ("l", F32), ("a", F32), ("b", F32), ("share", F32)])  # fmt: skip
ROWS = pa.schema([
    pa.field("item_id", TEXT, False), ("group_id", TEXT), ("title", TEXT), ("category", TEXT), ("price", pa.float64()),
    ("currency", TEXT), ("in_stock", pa.bool_()), ("popularity", F32), ("attributes", pa.list_(ATTRIBUTE)),
    ("colors", pa.list_(COLOR)), ("embedding", pa.list_(F32)), ("images", pa.int32()), ("model_version", TEXT),
    ("updated_at", pa.timestamp("us", tz="UTC")), pa.field("seq", pa.int64(), False), pa.field("deleted", pa.bool_(), False),
])  # fmt: skip


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def products(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the export, without seq."""
    rng = np.random.default_rng([seed, 1])
    kinds = max(4, min(60, count // 40))
    kind = rng.choice(kinds, count, p=rng.dirichlet(np.full(kinds, 2.0)))
    style = kind * 4 + rng.integers(0, 4, count)
    color = rng.choice(len(COLORS), count, p=rng.dirichlet(np.full(len(COLORS), 3.0)))
    gender = np.where(rng.random(count) < 0.8, (kind * 7) % len(GENDERS), rng.integers(0, len(GENDERS), count))
    center, styles, hues = (unit(rng.normal(size=(n, WIDTH))) for n in (kinds, kinds * 4, len(COLORS)))
    embedding = unit(center[kind] + 0.5 * styles[style] + 0.25 * hues[color] + 0.045 * rng.normal(size=(count, WIDTH)))
    price = np.exp(rng.normal(3.0, 0.7, kinds)[kind] + rng.normal(0, 0.5, count)).round(2)
    rows = []
    for i in range(count):
        name = COLORS[color[i]]
        sure = float(rng.uniform(0.5, 1.0))
        seen = rng.random() > 0.02
        attributes = [
            {"name": "gender", "value": GENDERS[gender[i]], "confidence": sure, "source": "model"},
            {"name": "pattern", "value": PATTERNS[style[i] % len(PATTERNS)], "confidence": sure, "source": "model"},
        ]
        tint = {"name": name, "retail_name": None, "shade": "mid", "hex": "#808080", "l": 50.0, "a": 0.0, "b": 0.0, "share": 0.8}
        rows.append({
            "item_id": f"sku-{i:07}", "group_id": None, "title": f"{name} thing {i}", "category": f"kind {kind[i]}",
            "price": float(price[i]), "currency": "EUR", "in_stock": True, "popularity": None,
            "attributes": attributes if seen else [], "colors": [tint] if seen else [],
            "embedding": embedding[i] if seen else None, "images": int(seen), "model_version": "stand-in" if seen else None,
            "updated_at": datetime(2024, 1, 1, tzinfo=UTC), "deleted": False,
        })  # fmt: skip
    return rows


def tombstone(item_id: str) -> dict[str, Any]:
    """The row of a product that is gone."""
    empty = dict.fromkeys(ROWS.names) | {"attributes": [], "colors": []}
    return empty | {"item_id": item_id, "updated_at": datetime(2024, 2, 1, tzinfo=UTC), "deleted": True}


def write_partition(export: Path, rows: list[dict[str, Any]], after: int, is_full: bool, part_rows: int = 10_000) -> int:
    """Writes the rows with the next seq; the cursor after them."""
    cursor = after + len(rows)
    folder = export / f"cursor={cursor}"
    folder.mkdir(parents=True)
    numbered = [row | {"seq": after + 1 + k} for k, row in enumerate(rows)]
    files = []
    for part, start in enumerate(range(0, len(rows), part_rows)):
        files.append(f"part-{part:05}.parquet")
        pq.write_table(pa.Table.from_pylist(numbered[start : start + part_rows], ROWS), folder / files[-1])
    manifest = {
        "schema": SCHEMA, "source": f"urn:uuid:{uuid.UUID(int=1)}", "is_full": is_full, "after": 0 if is_full else after,
        "cursor": cursor, "model_version": "stand-in", "rows": len(rows), "deleted": sum(r["deleted"] for r in rows),
        "files": files,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return cursor


def write(export: Path, count: int, seed: int) -> None:
    """A full partition, and an increment: 1 % of the products changed in price, 1 % gone."""
    rows = products(count, seed)
    cursor = write_partition(export, rows, 0, True)
    some = max(1, count // 100)
    changed = [row | {"price": round(row["price"] * 0.9, 2)} for row in rows[:some]]
    write_partition(export, changed + [tombstone(row["item_id"]) for row in rows[-some:]], cursor, False)


def main() -> None:
    """Write an export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the export, which must not be there yet")
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    write(args.out, args.items, args.seed)


if __name__ == "__main__":
    main()
