"""Recall against searches a second of other indexes, on the vectors that the index's benchmark wrote.

    cargo bench --bench index -- --rows 50000 --out DIR
    cargo bench --bench index -- --reference DIR
    python -m scripts.index_peers DIR [--filters]

One thread searches, two build; ten neighbours a query. Needs hnswlib, usearch and faiss-cpu; one that is not installed is left
out. Each runs in a process of its own; memory is what is resident there and not of files, less what was before the build.
Writes DIR/curve.svg: all curves, those of the benchmark (ours.json, hnsw_rs.json) among them, on the vectors of one run.
With --filters also what faiss (a bitmap) and hnswlib (a function in Python, so its times say little) make of filters.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import itertools
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSION, K = 256, 10
CONNECTIONS, CANDIDATES = 16, 128
EFFORTS = (10, 16, 24, 32, 64, 96, 128, 192, 256, 384, 512)
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
    """Recall (0.8 to 0.999, to the right; logarithmic in what is missed) against searches a second (logarithmic,
    upward) as SVG."""
    width, height, left, low = 860, 520, 70, 50
    inks = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8b4513")
    seen = {name: [(r, q) for r, q in curve if r >= 0.8] for name, curve in curves.items()}
    rates = [q for curve in seen.values() for _, q in curve] or [1.0]
    floor, top = math.log10(min(rates)) - 0.05, math.log10(max(rates)) + 0.05

    def x(recall: float) -> float:
        misses = math.log10(max(1 - recall, 0.001))
        return left + (math.log10(0.2) - misses) / (math.log10(0.2) + 3) * (width - left - 190)

    def y(rate: float) -> float:
        return height - low - (math.log10(rate) - floor) / (top - floor) * (height - low - 20)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">']
    out.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    for tick in (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999):
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


def resident() -> int:
    """Bytes of this process that are in memory and not of files, as Linux counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def peers() -> dict[str, Callable[[Floats], Search]]:
    """All by their names."""
    named: dict[str, Callable[[Floats], Search]] = {"hnswlib f32": hnswlib}
    named |= {f"usearch {kind}": usearch(kind) for kind in ("f32", "bf16", "i8")}
    return named | {f"faiss HNSW {kind}": faiss(kind) for kind in ("Flat", "SQ8")}


def load(folder: Path) -> tuple[Floats, Floats]:
    """Vectors, which stay in their file, and queries."""
    vectors = np.memmap(folder / "vectors.f32", "<f4", "r").reshape(-1, DIMENSION)
    return vectors, np.fromfile(folder / "queries.f32", "<f4").reshape(-1, DIMENSION)


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Builds one, searches with each effort."""
    vectors, queries = load(folder)
    truth = [set(row) for row in np.fromfile(folder / "truth.u32", "<u4").reshape(-1, K).tolist()]
    before, begun = resident(), time.perf_counter()
    search = peers()[name](vectors)
    built = len(vectors) / (time.perf_counter() - begun)
    size = (resident() - before) / len(vectors)
    print(f"{name}: {built:.0f}/s built, {size:.0f} bytes a vector", flush=True)
    curve: Curve = []
    for ef in EFFORTS:
        begun = time.perf_counter()
        found = [search(query, ef) for query in queries]
        took = time.perf_counter() - begun
        hits = sum(len(right & {int(key) for key in one}) for right, one in zip(truth, found, strict=True))
        curve.append((hits / (K * len(queries)), len(queries) / took))
        print(f"{ef:5}  {curve[-1][0]:.4f}  {curve[-1][1]:8.0f}", flush=True)
    return {"curve": curve, "bytes": size, "built": built}


def filtered(folder: Path) -> None:
    """Recall and time of an effort of 192 where a share of the rows passes, by what does and does not go with the vectors."""
    library, other = importlib.import_module("faiss"), importlib.import_module("hnswlib")
    vectors, queries = load(folder)
    queries, rows = queries[:100], len(vectors)
    zones = np.fromfile(folder / "zones.u32", "<u4")
    price = np.arange(rows, dtype=np.uint64) * 7919 % rows
    library.omp_set_num_threads(2)
    flat = library.index_factory(DIMENSION, f"HNSW{CONNECTIONS},Flat", library.METRIC_INNER_PRODUCT)
    flat.hnsw.efConstruction = CANDIDATES
    flat.add(vectors)
    library.omp_set_num_threads(1)
    graph = other.Index("ip", DIMENSION)
    graph.init_index(rows, ef_construction=CANDIDATES, M=CONNECTIONS, random_seed=1)
    graph.add_items(vectors, num_threads=2)
    graph.set_ef(192)
    print("passing  by     faiss: recall, p50 us    hnswlib: recall, p50 us")
    for share, by in itertools.product((1.0, 0.5, 0.1, 0.01, 0.001, 0.0001), ("price", "zone")):
        count = max(round((int(zones.max()) + 1) * share), 1)
        rest = rows * min(share * (int(zones.max()) + 1) / count, 1.0)
        allowed = price < rows * share if by == "price" else (zones < count) & (price < rest)
        kept = np.flatnonzero(allowed)
        scores = queries @ vectors[kept].T
        truth = [set(kept[np.argsort(-row)[:K]].tolist()) for row in scores]
        select = library.SearchParametersHNSW(sel=library.IDSelectorBitmap(np.packbits(allowed, bitorder="little")), efSearch=192)

        def passes(label: int, allowed: NDArray[np.bool_] = allowed) -> bool:
            return bool(allowed[label])

        def by_faiss(query: Floats, select: Any = select) -> Any:
            return flat.search(query[None], K, params=select)[1][0]

        def by_hnswlib(query: Floats, passes: Callable[[int], bool] = passes) -> Any:
            try:
                return graph.knn_query(query, k=K, num_threads=1, filter=passes)[0][0]
            except RuntimeError:  # It has fewer than were asked for.
                return []

        line = f"{100 * share:6.2f}%  {by:5}"
        for search in (by_faiss, by_hnswlib):
            times, hits = [], 0
            for query, right in zip(queries, truth, strict=True):
                begun = time.perf_counter()
                found = search(query)
                times.append(time.perf_counter() - begun)
                hits += len(right & {int(key) for key in found})
            wanted = sum(len(right) for right in truth)
            line += f"  {hits / wanted:14.4f}, {1e6 * float(np.median(times)):7.0f}"
        print(line, flush=True)


def main() -> None:
    """Measure each; draw all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--filters", action="store_true", help="only recall and time under filters")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.filters:
        filtered(folder)
        return
    measured: dict[str, dict[str, Any]] = {}
    for path in (folder / "ours.json", folder / "hnsw_rs.json"):
        if path.exists():
            measured |= json.loads(path.read_text())
    for name in peers():
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            try:
                measured[name] = alone.submit(measure, folder, name).result()
            except ModuleNotFoundError as missing:
                print(f"{name}: left out, {missing}")
    curves: dict[str, Curve] = {name: [(r, q) for r, q in one["curve"]] for name, one in measured.items()}
    (folder / "curve.svg").write_text(drawn(curves))
    (folder / "all.json").write_text(json.dumps(measured))
    print("searches a second at recall 0.98, 0.99; built a second; bytes a vector")
    for name, curve in curves.items():
        rates = (at_recall(curve, recall) for recall in (0.98, 0.99))
        cells = (*rates, measured[name].get("built"), measured[name].get("bytes"))
        print(f"{name:16}", *(f"{cell:8.0f}" if cell else "       -" for cell in cells))


if __name__ == "__main__":
    main()
