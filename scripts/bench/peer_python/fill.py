"""Fills the peer's folder with products from a file of embeddings (f32, row-major, 256 values each).

    python -m scripts.bench.peer_python.fill FILE.f32 DIR --rows 100000
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import orjson

from . import app


def main() -> None:
    """Write the rows and their index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args()
    vectors = np.fromfile(args.vectors, "<f4", args.rows * app.DIMENSION).reshape(-1, app.DIMENSION)
    catalog = app.Catalog(args.data)
    analysis = orjson.dumps({})
    with catalog.db:
        rows = ((str(n), "a", analysis, vector.tobytes()) for n, vector in enumerate(vectors))
        catalog.db.executemany("INSERT INTO images(product, image, analysis, embedding) VALUES(?, ?, ?, ?)", rows)
    labels = [label for (label,) in catalog.db.execute("SELECT label FROM images ORDER BY label")]
    catalog.index.resize_index(max(1 << 17, 2 * len(labels)))
    catalog.index.add_items(vectors, labels)
    catalog.save()
    print(f"{len(vectors)} products in {args.data}")


if __name__ == "__main__":
    main()
