"""Recall against searches a second of other indexes, on the vectors that the index's benchmark wrote.

    cargo bench --bench index -- --rows 50000 --out DIR
    python -m scripts.index_peers DIR

One thread searches, two build; ten neighbours a query. Needs hnswlib, usearch and faiss-cpu; one that is not installed is left
out. Writes DIR/curve.svg: all curves, that of the benchmark (DIR/ours.json) among them, on the vectors of one run.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import math
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


def faiss(kind: str) -> Callable[[Floats], Search]:
    """HNSW of faiss over values of a kind: Flat (f32) or SQ8 (a byte each, trained on all vectors)."""

    def build(vectors: Floats) -> Search:
        library = importlib.import_module("faiss")
        library.omp_set_num_threads(2)
        index = library.index_factory(DIMENSION, f"HNSW{CONNECTIONS},{kind}", library.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CANDIDATES
        index.train(vectors)
        index.add(vectors)
        library.omp_set_num_threads(1)

        def search(query: Floats, ef: int) -> Any:
            index.hnsw.efSearch = ef
            return index.search(query[None], K)[1][0]

        return search

    return build


Curve = list[tuple[float, float]]


def drawn(curves: dict[str, Curve]) -> str:
    """Recall (from 0.8, to the right) against searches a second (logarithmic, upward) as SVG."""
    width, height, left, low = 860, 520, 70, 50
    inks = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
    seen = {name: [(r, q) for r, q in curve if r >= 0.8] for name, curve in curves.items()}
    rates = [q for curve in seen.values() for _, q in curve] or [1.0]
    floor, top = math.log10(min(rates)) - 0.05, math.log10(max(rates)) + 0.05

    def x(recall: float) -> float:
        return left + (recall - 0.8) / 0.2 * (width - left - 190)

    def y(rate: float) -> float:
        return height - low - (math.log10(rate) - floor) / (top - floor) * (height - low - 20)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">']
    out.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    for tick in (0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0):
        out.append(f'<path d="M{x(tick):.1f} 20V{height - low}" stroke="#ddd"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{height - low + 18}" text-anchor="middle">{tick}</text>')
    for rate in (m * 10**e for e in range(6) for m in (1, 2, 5)):
        if floor <= math.log10(rate) <= top:
            out.append(f'<path d="M{left} {y(rate):.1f}H{x(1.0):.1f}" stroke="#ddd"/>')
            out.append(f'<text x="{left - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate}</text>')
    for n, (name, curve) in enumerate(seen.items()):
        ink = inks[n % len(inks)]
        path = "L".join(f"{x(r):.1f} {y(q):.1f}" for r, q in curve)
        if path:
            out.append(f'<path d="M{path}" fill="none" stroke="{ink}" stroke-width="{3 if n == 0 else 1.5}"/>')
        out.append(f'<text x="{width - 175}" y="{40 + 20 * n}" fill="{ink}">{name}</text>')
    out.append(f'<text x="{(left + x(1.0)) / 2:.0f}" y="{height - 10}" text-anchor="middle">recall@{K}</text>')
    out.append(f'<text x="16" y="{height / 2:.0f}" transform="rotate(-90 16 {height / 2:.0f})">searches a second</text></svg>')
    return "\n".join(out)


def at_recall(curve: Curve, recall: float) -> float | None:
    """Searches a second at a recall, between the points beside it; None beyond the curve."""
    for (r0, q0), (r1, q1) in itertools.pairwise(curve):
        if r0 <= recall <= r1 and r1 > r0:
            return q0 + (q1 - q0) * (recall - r0) / (r1 - r0)
    return None


def main() -> None:
    """Build each, search with each effort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    vectors, queries = (np.fromfile(folder / f"{name}.f32", "<f4").reshape(-1, DIMENSION) for name in ("vectors", "queries"))
    truth = [set(row) for row in np.fromfile(folder / "truth.u32", "<u4").reshape(-1, K).tolist()]
    peers = {"hnswlib f32": hnswlib} | {f"usearch {kind}": usearch(kind) for kind in ("f32", "bf16", "i8")}
    peers |= {f"faiss HNSW {kind}": faiss(kind) for kind in ("Flat", "SQ8")}
    curves: dict[str, Curve] = {}
    ours = folder / "ours.json"
    if ours.exists():
        curves = {name: [(r, q) for r, q in one["curve"]] for name, one in json.loads(ours.read_text()).items()}
    for name, build in peers.items():
        begun = time.perf_counter()
        try:
            search = build(vectors)
        except ModuleNotFoundError as missing:
            print(f"{name}: left out, {missing}")
            continue
        curve: Curve = []
        print(f"{name}: {len(vectors) / (time.perf_counter() - begun):.0f}/s built")
        for ef in EFFORTS:
            begun = time.perf_counter()
            found = [search(query, ef) for query in queries]
            took = time.perf_counter() - begun
            hits = sum(len(right & {int(key) for key in one}) for right, one in zip(truth, found, strict=True))
            curve.append((hits / (K * len(queries)), len(queries) / took))
            print(f"{ef:5}  {curve[-1][0]:.4f}  {curve[-1][1]:8.0f}", flush=True)
        curves[name] = curve
        del search
    (folder / "curve.svg").write_text(drawn(curves))
    print("searches a second at recall 0.98, 0.99")
    for name, curve in curves.items():
        rates = (at_recall(curve, recall) for recall in (0.98, 0.99))
        print(f"{name:16}", *(f"{rate:8.0f}" if rate else "       -" for rate in rates))


if __name__ == "__main__":
    main()
