"""Measures an exported bundle on validation photos with ONNX Runtime; prints and writes the figures.

Val photos and changed queries go through the shipped file from the photo on. The gallery of all other
photos takes the cached features through the file's own last layers: the same figures, in minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx.utils import Extractor

from . import augment, dataset, measure, options, photos

_net: ort.InferenceSession | None = None


def session(model: bytes) -> ort.InferenceSession:
    """One thread, so that one process a core keeps the machine busy."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(model, settings, ["CPUExecutionProvider"])


def tail(model: bytes) -> bytes:
    """What follows the pooled features, cut out of the file."""
    whole = onnx.load_from_string(model)
    outputs = [o.name for o in whole.graph.output]
    part: onnx.ModelProto = Extractor(whole).extract_model(["features"], outputs)
    return part.SerializeToString()


def split_outputs(values: list[dict[str, measure.F32]], photo: list[int]) -> measure.Answers:
    """One dict a photo to arrays."""
    logits = {name: np.stack([v[name] for v in values]) for name in values[0] if name != "embedding"}
    return measure.Answers(np.array(photo, np.int64), logits, np.stack([v["embedding"] for v in values]))


def run(net: ort.InferenceSession, feed: dict[str, Any]) -> dict[str, measure.F32]:
    """All outputs of one photo by name, without the batch axis."""
    return {o.name: np.asarray(v)[0] for o, v in zip(net.get_outputs(), net.run(None, feed), strict=True)}


def _start(model: bytes) -> None:
    global _net
    _net = session(model)


def _photo(job: tuple[Path, str, str, int]) -> dict[str, measure.F32]:
    root, path, view, seed = job
    assert _net is not None
    image = augment.view(photos.load(root / path), seed, path, view)
    return run(_net, {"image": photos.normalize(photos.stretch(image))[None]})


def through_file(model: bytes, args: argparse.Namespace, rows: list[dataset.Row], which: list[int], view: str) -> measure.Answers:
    """Photos `which` (rows of the table), changed as `view` says, through the whole file."""
    jobs = [(args.photos, rows[i]["path"], view, args.seed) for i in which]
    with multiprocessing.Pool(args.workers, _start, (model,)) as pool:
        return split_outputs(pool.map(_photo, jobs, chunksize=16), which)


def from_cache(model: bytes, args: argparse.Namespace, rows: list[dataset.Row], parts: list[str], view: str) -> measure.Answers:
    """All cached photos through the file's last layers."""
    seen = dataset.views(args.cache, rows, [view], dataset.columns(parts))
    net = session(tail(model))
    return split_outputs([run(net, {"features": x[None].astype(np.float32)}) for x in seen.x], list(seen.photo))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--model", type=Path, default=options.REPOSITORY / "models/default")
    parser.add_argument("--trained", type=Path, default=options.home() / "trained.npz", help="for the names of the features")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gallery-only", action="store_true", help="quick: val and queries from the cache as well")
    parser.add_argument("--out", type=Path, default=options.home() / "figures.json")
    args = parser.parse_args()
    rows = dataset.read(args.table, args.sources)
    parts = json.loads(args.trained.with_suffix(".json").read_text())["parts"]
    listing = json.loads((args.model / "manifest.json").read_text())
    labels = {h["name"]: h["labels"] for h in listing["heads"]}
    model = (args.model / "model.onnx").read_bytes()
    seen = from_cache(model, args, rows, parts, "clean")
    cached = {view: dataset.views(args.cache, rows, [view], dataset.columns(parts)) for view in ("query", "hard")}
    queries: dict[str, measure.Answers] = {}
    agreement: dict[str, Any] = {}
    if args.gallery_only:
        queries = {view: from_cache(model, args, rows, parts, view) for view, v in cached.items() if len(v)}
    else:
        val = [i for i, r in enumerate(rows) if r["split"] == "val"]
        exact = through_file(model, args, rows, val, "clean")
        at = {int(photo): i for i, photo in enumerate(seen.photo)}
        here = np.array([at[i] for i in val])
        cosine = (seen.z[here] * exact.z).sum(1)
        agreement = {"n": len(val), "min_cosine": float(cosine.min()), "mean_cosine": float(cosine.mean())}
        seen.z[here] = exact.z
        for name, values in exact.logits.items():
            seen.logits[name][here] = values
        catalog = [i for i in val if rows[i]["source"] == "catalog"]
        for view in ("query", "hard") if catalog else ():
            queries[view] = through_file(model, args, rows, catalog, view)
    figures = measure.figures(rows, labels, seen, queries)
    figures |= {"agreement": agreement} if agreement else {}
    figures["version"] = listing["version"]
    print(measure.lines(figures))
    print(json.dumps(figures["by_source"], indent=1), agreement)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    args.out.with_suffix(".md").write_text(measure.lines(figures) + "\n")


if __name__ == "__main__":
    main()
