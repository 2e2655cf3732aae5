"""Recall against searches a second of other indexes, on the vectors that the index's benchmark wrote.

    cargo bench --bench index -- --rows 50000 --out DIR
    python -m scripts.index_peers DIR

One thread searches, two build; ten neighbours a query. Needs hnswlib and usearch.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSION, K = 256, 10
CONNECTIONS, CANDIDATES = 16, 128
EFFORTS = (32, 64, 96, 128, 192, 256, 384, 512)
Floats = NDArray[np.float32]
Search = Callable[[Floats, int], Any]


def hnswlib(vectors: Floats) -> Search:
    """hnswlib, f32."""
    index = importlib.import_module("hnswlib").Index("ip", DIMENSION)
    index.init_index(len(vectors), ef_construction=CANDIDATES, M=CONNECTIONS, random_seed=1)
    index.add_items(vectors, num_threads=2)

    def search(query: Floats, ef: int) -> Any:
        index.set_ef(ef)
        return index.knn_query(query, k=K, num_threads=1)[0][0]

    return search


def usearch(kind: str) -> Callable[[Floats], Search]:
    """usearch with values of a kind."""

    def build(vectors: Floats) -> Search:
        index = importlib.import_module("usearch.index").Index(
            ndim=DIMENSION, metric="ip", dtype=kind, connectivity=CONNECTIONS, expansion_add=CANDIDATES
        )
        index.add(np.arange(len(vectors)), vectors, threads=2)

        def search(query: Floats, ef: int) -> Any:
            index.expansion_search = ef
            return index.search(query, K, threads=1).keys

        return search

    return build


def main() -> None:
    """Build each, search with each effort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    vectors, queries = (np.fromfile(folder / f"{name}.f32", "<f4").reshape(-1, DIMENSION) for name in ("vectors", "queries"))
    truth = [set(row) for row in np.fromfile(folder / "truth.u32", "<u4").reshape(-1, K).tolist()]
    peers = {"hnswlib f32": hnswlib} | {f"usearch {kind}": usearch(kind) for kind in ("f32", "bf16", "i8")}
    for name, build in peers.items():
        begun = time.perf_counter()
        search = build(vectors)
        print(f"{name}: {len(vectors) / (time.perf_counter() - begun):.0f}/s built")
        for ef in EFFORTS:
            begun = time.perf_counter()
            found = [search(query, ef) for query in queries]
            took = time.perf_counter() - begun
            hits = sum(len(right & {int(key) for key in one}) for right, one in zip(truth, found, strict=True))
            print(f"{ef:5}  {hits / (K * len(queries)):.4f}  {len(queries) / took:8.0f}", flush=True)


if __name__ == "__main__":
    main()
