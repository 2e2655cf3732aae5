"""The feature cache: every photo and view once through the frozen backbone, pooled, on disk.

Why: with a frozen backbone the features never change, so heads and embedding train in minutes on
what is cached here. One folder a source and view; rows follow `paths.txt`; resumable by row flags.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from . import augment, backbone, options, photos, prepare
from .graph import BANDS, Clipped, Graph, Quantized, add_backbone, pool
from .sources import is_shop

#: What is cached, in this order: (tap, pooling).
PARTS: tuple[tuple[str, str], ...] = (
    ("l1", "mean"), ("l2", "mean"), ("l2", "square"), ("l3", "mean"), ("l3", "square"), ("l4", "mean"),
    ("l1", "bands"), ("l2", "bands"), ("l3", "bands"),
)  # fmt: skip
WIDTHS = {(tap, how): backbone.TAP_CHANNELS[tap] * (BANDS[tap] if how == "bands" else 1) for tap, how in PARTS}
WIDTH = sum(WIDTHS.values())
#: What heads and embedding read, in this order; the last is what layer 4 gives.
USED = ("l1.bands", "l2.bands", "l2.square", "l3.bands", "l3.square", "l4.mean")
THUMB = 32
BATCH = 4
#: What layer 4 reads, where whole maps are kept to train it: (C, H, W), values from 0 to 3.
MAP_TAP = "l3"
MAP_SHAPE = (1024, 14, 14)
MAP_STEP = backbone.ACT_RANGE[1] / 255


def columns(parts: tuple[tuple[str, str], ...]) -> NDArray[np.int64]:
    """Columns of the cache that hold `parts`, in the order of `parts`."""
    starts: dict[tuple[str, str], int] = {}
    at = 0
    for part in PARTS:
        starts[part] = at
        at += WIDTHS[part]
    return np.concatenate([np.arange(starts[p], starts[p] + WIDTHS[p]) for p in parts])


def session(weights: Path, engine: str, threads: int, batch: int = BATCH) -> ort.InferenceSession:
    """The backbone: all PARTS as output `features`, MAP_TAP as output `map`; engine `int8` (3 times faster) or `f32`."""
    g = Graph()
    taps = add_backbone(g, backbone.load(weights), "image", Quantized() if engine == "int8" else Clipped())
    pools = [pool(g, taps, tap, how) for tap, how in PARTS]
    out = g.node("Concat", pools, "features", axis=1)
    kept = g.node("Identity", [taps[MAP_TAP]], "map")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = g.model(batch, {out: WIDTH, kept: MAP_SHAPE}, "vitrine").SerializeToString()
    return ort.InferenceSession(data, settings, ["CPUExecutionProvider"])


@dataclass
class Store:
    """The cache of one source and view: features (n, WIDTH) f16, thumbnails (n, 32, 32, 3), flags (n,).

    With `maps`, also what layer 4 reads: (n, 1024, 14, 14) uint8 in steps of MAP_STEP, 200 KB a photo.
    """

    folder: Path
    features: NDArray[np.float16]
    thumbs: NDArray[np.uint8]
    done: NDArray[np.uint8]
    maps: NDArray[np.uint8] | None

    @classmethod
    def open(cls, root: Path, rows: list[prepare.Row], view: str, maps: bool = False) -> Store:
        """Open or create, for rows of the table that are all of one source; refuses a folder made for other photos."""
        source, paths = rows[0]["source"], [row["path"].partition("/")[2] for row in rows]
        listing = root / source / "paths.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(paths)
        if not listing.exists():
            listing.write_text(text)
        elif listing.read_text() != text:
            raise SystemExit(f"{listing} lists other photos: remove {listing.parent} to start afresh")
        folder = root / source / view
        folder.mkdir(exist_ok=True)

        def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.memmap:
            file = folder / name
            return open_memmap(file, mode="r+") if file.exists() else open_memmap(file, "w+", dtype, shape)

        n = len(paths)
        if maps and not (folder / "maps.npy").exists():
            (folder / "done.npy").unlink(missing_ok=True)  # made without maps: once more
        return cls(
            folder,
            array("features.npy", "float16", (n, WIDTH)),
            array("thumbs.npy", "uint8", (n, THUMB, THUMB, 3)),
            array("done.npy", "uint8", (n,)),
            array("maps.npy", "uint8", (n, *MAP_SHAPE)) if maps else None,
        )


@dataclass
class Worker:
    """What a worker process holds: its own session on one thread, and the open store."""

    net: ort.InferenceSession
    store: Store
    photos: list[prepare.Row]
    view: str
    seed: int

    def run(self, rows: list[int]) -> int:
        """Fill these rows; returns how many."""
        pixels = np.zeros((BATCH, backbone.SIZE, backbone.SIZE, 3), np.uint8)
        for i, row in enumerate(rows):
            photo = self.photos[row]
            image = photos.load(Path(photo["file"]))
            pixels[i] = photos.stretch(augment.view(image, self.seed, photo["path"], self.view))
        wanted = ["features"] if self.store.maps is None else ["features", "map"]
        values, *maps = (np.asarray(v) for v in self.net.run(wanted, {"image": photos.normalize(pixels)}))
        for i, row in enumerate(rows):
            if self.store.maps is not None:
                self.store.maps[row] = np.rint(maps[0][i] / MAP_STEP)
            self.store.features[row] = values[i].astype(np.float16)
            self.store.thumbs[row] = photos.thumbnail(pixels[i])
            self.store.done[row] = 1
        return len(rows)


_worker: Worker | None = None


def _start(weights: Path, engine: str, root: Path, rows: list[prepare.Row], view: str, maps: bool, seed: int) -> None:
    global _worker
    _worker = Worker(session(weights, engine, 1), Store.open(root, rows, view, maps), rows, view, seed)


def _run(rows: list[int]) -> int:
    assert _worker is not None
    return _worker.run(rows)


def fill(args: argparse.Namespace, rows: list[prepare.Row], view: str, deadline: float) -> None:
    """Compute what is missing of one source and view, until it is whole or the deadline is past."""
    source, maps = rows[0]["source"], args.maps
    store = Store.open(args.cache, rows, view, maps)
    todo = store.done == 0
    if view in ("query", "hard"):
        todo &= np.array([row["split"] == "val" for row in rows])
    jobs = np.flatnonzero(todo).tolist()
    batches = [jobs[i : i + BATCH] for i in range(0, len(jobs), BATCH)]
    setup = (args.weights, args.cache_engine, args.cache, rows, view, maps, args.seed)
    began, finished = time.monotonic(), 0
    if not batches or began > deadline:
        return
    with multiprocessing.Pool(args.workers, _start, setup) as workers:
        for count in workers.imap_unordered(_run, batches):
            finished += count
            if time.monotonic() > deadline:
                break
    rate = finished / (time.monotonic() - began)
    print(f"{source}/{view}: {finished} of {len(jobs)} rows, {rate:.1f} a second", flush=True)


def plan(sources: list[str], views: int, other_views: int) -> list[tuple[str, str]]:
    """What to compute, most needed first: all clean views, the judged queries, then rounds of augmented views.

    Shop photos are a round ahead: telling their many look-alikes apart needs the views most.
    """
    shops = [s for s in sources if is_shop(s)]
    others = [s for s in sources if s not in shops]
    steps = [(s, "clean") for s in sources]
    steps += [(s, view) for s in shops for view in ("query", "hard")]
    for k in range(max(views, other_views + 1)):
        steps += [(s, f"aug{k}") for s in shops if k < views]
        steps += [(s, f"aug{k - 1}") for s in others if 0 < k <= other_views]
    return steps


def main() -> None:
    """Fill the cache as far as the time lets; run again to go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--cache-engine", choices=("int8", "f32"), default="int8", help="int8 is 3 times faster")
    parser.add_argument("--views", type=int, default=6, help="augmented views of each catalog and studio photo")
    parser.add_argument("--other-views", type=int, default=2, help="augmented views of every other photo")
    parser.add_argument("--maps", action="store_true", help="keep what layer 4 reads too: 200 KB a view")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this long; what is there counts")
    args = options.parse(parser)
    deadline = time.monotonic() + 60 * args.minutes
    table = prepare.read(args.table, args.sources)
    for source, view in plan(args.sources, args.views, args.other_views):
        if rows := [row for row in table if row["source"] == source]:
            fill(args, rows, view, deadline)


if __name__ == "__main__":
    main()
