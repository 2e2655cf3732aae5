"""The peer's HTTP side: the routes of the service that a benchmark asks, over the stack that a shop would take.

    python -m scripts.bench.peer_python.app --port 8090 --data /tmp/peer

Photos are looked at in one process a core; the index and the store live in this one, as an index of several processes
would be several indexes. A write is answered when SQLite has it and the index knows it.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response

from . import EFFORT, look

DIMENSION = 256
CONNECTIONS, CANDIDATES = 16, 128


class Catalog:
    """Products and images in SQLite, embeddings in hnswlib."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.photos = folder / "photos"
        self.photos.mkdir(exist_ok=True)
        self.lock = threading.Lock()
        self.db = sqlite3.connect(folder / "catalog.db", check_same_thread=False)
        self.db.executescript(
            """PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
            CREATE TABLE IF NOT EXISTS products(id TEXT PRIMARY KEY, record BLOB);
            CREATE TABLE IF NOT EXISTS images(label INTEGER PRIMARY KEY, product TEXT, image TEXT, analysis BLOB,
                embedding BLOB, UNIQUE(product, image));"""
        )
        self.index = hnswlib.Index("ip", DIMENSION)
        self.index.init_index(1 << 17, ef_construction=CANDIDATES, M=CONNECTIONS, allow_replace_deleted=False)
        self.index.set_ef(EFFORT)
        self.product_of: dict[int, str] = {}
        self.labels_of: dict[str, list[int]] = {}
        self.saved = folder / "index.bin"
        rows: int = self.db.execute("SELECT count(*) FROM images").fetchone()[0]
        if self.saved.exists():
            self.index.load_index(str(self.saved), max_elements=max(1 << 17, 2 * rows))
            self.index.set_ef(EFFORT)
        if self.index.get_current_count() == rows:
            for label, product in self.db.execute("SELECT label, product FROM images"):
                self._name(label, product)
            return
        for label, product, embedding in self.db.execute("SELECT label, product, embedding FROM images"):
            self._add(label, product, embedding)

    def _add(self, label: int, product: str, embedding: bytes) -> None:
        if label >= self.index.get_max_elements():
            self.index.resize_index(2 * self.index.get_max_elements())
        # Before the index knows it: a search on another thread may find it at once.
        self._name(label, product)
        self.index.add_items(np.frombuffer(embedding, "<f4")[None], [label], num_threads=1)

    def _name(self, label: int, product: str) -> None:
        self.product_of[label] = product
        labels = self.labels_of.setdefault(product, [])
        if label not in labels:
            labels.append(label)

    def save(self) -> None:
        """Keeps the index for the next start."""
        self.index.save_index(str(self.saved))

    def put_product(self, product: str, record: bytes) -> None:
        """Stores a product's metadata."""
        with self.lock, self.db:
            self.db.execute("INSERT OR REPLACE INTO products VALUES(?, ?)", (product, record))

    def put_image(self, product: str, image: str, data: bytes, analysis: bytes, embedding: bytes) -> None:
        """Stores a photo with what was seen on it, and indexes it."""
        (self.photos / f"{product.replace('/', '_')}-{image}").write_bytes(data)
        with self.lock:
            with self.db:
                held = self.db.execute("SELECT label FROM images WHERE product=? AND image=?", (product, image)).fetchone()
                row = (held[0] if held else None, product, image, analysis, embedding)
                label = self.db.execute("INSERT OR REPLACE INTO images VALUES(?, ?, ?, ?, ?)", row).lastrowid
            assert label is not None
            self._add(label, product, embedding)

    def similar(self, product: str, limit: int) -> list[dict[str, Any]] | None:
        """The nearest other products, or none for an unknown one."""
        labels = self.labels_of.get(product)
        if not labels:
            return None
        query = self.index.get_items(labels[:1])
        count = min(limit + len(labels), len(self.product_of))
        self.index.set_ef(max(EFFORT, count))
        found, distances = self.index.knn_query(query, k=count, num_threads=1)
        items: list[dict[str, Any]] = []
        seen = {product}
        for label, distance in zip(found[0].tolist(), distances[0].tolist(), strict=True):
            other = self.product_of[label]
            if other not in seen:
                seen.add(other)
                items.append({"product_id": other, "score": 1 - distance})
        return items[:limit]


def application(bundle: Path, file: str, data: Path, workers: int, reduced: bool) -> FastAPI:
    """The routes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = multiprocessing.get_context("spawn")
        settings = (str(bundle), file, reduced, context.Barrier(workers))
        with concurrent.futures.ProcessPoolExecutor(workers, context, look.start, settings) as pool:
            app.state.pool = pool
            # Each waits for the others, so that every process has loaded the model.
            waiting = (asyncio.get_running_loop().run_in_executor(pool, look.meet) for _ in range(workers))
            await asyncio.gather(*waiting)
            yield
            catalog.save()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    catalog = Catalog(data)

    def answer(value: Any, status: int = 200) -> Response:
        return Response(orjson.dumps(value), status, media_type="application/json")

    async def seen(request: Request) -> tuple[bytes, dict[str, Any], bytes]:
        data = await request.body()
        try:
            return data, *await asyncio.get_running_loop().run_in_executor(app.state.pool, look.look, data)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/health/ready")
    async def ready() -> Response:
        return answer({"ready": True})

    @app.post("/v1/analyze")
    async def analyze(request: Request) -> Response:
        return answer((await seen(request))[1])

    @app.put("/v1/products/{product}")
    async def put_product(product: str, request: Request) -> Response:
        record = await request.body()
        orjson.loads(record)
        await asyncio.to_thread(catalog.put_product, product, record)
        return answer({"product_id": product}, 201)

    @app.put("/v1/products/{product}/images/{image}")
    async def put_image(product: str, image: str, request: Request) -> Response:
        data, analysis, embedding = await seen(request)
        await asyncio.to_thread(catalog.put_image, product, image, data, orjson.dumps(analysis), embedding)
        return answer({"image_id": image, "analysis": analysis}, 201)

    @app.get("/v1/products/{product}/similar")
    async def similar(product: str, limit: int = 20) -> Response:
        items = catalog.similar(product, limit)
        if items is None:
            raise HTTPException(404, "unknown product")
        return answer({"items": items})

    return app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path(__file__).resolve().parents[3] / "models/default")
    parser.add_argument("--file", default="model.int8.onnx", help="the bundle's file that is run")
    parser.add_argument("--data", type=Path, default=Path("peer-data"))
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--reduced", action="store_true", help="decode large JPEG at a half or a quarter of their size")
    args = parser.parse_args()
    app = application(args.bundle, args.file, args.data, args.workers, args.reduced)
    uvicorn.run(app, host="127.0.0.1", port=args.port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
