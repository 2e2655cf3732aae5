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
import onnx.shape_inference
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.utils import Extractor

from . import augment, dataset, measure, options, photos
from .net import EMBEDDING_DIM

_net: ort.InferenceSession | None = None


def session(model: bytes) -> ort.InferenceSession:
    """One thread, so that one process a core keeps the machine busy."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(model, settings, ["CPUExecutionProvider"])


def tail(model: bytes) -> bytes:
    """What follows the pooled features, cut out of the file and opened to any number of photos at once."""
    whole = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    outputs = [o.name for o in whole.graph.output]
    part: onnx.ModelProto = Extractor(whole).extract_model(["features"], outputs)
    del part.graph.value_info[:]
    for value in [*part.graph.input, *part.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "photos"
    return part.SerializeToString()


def split_outputs(values: list[dict[str, measure.F32]], photo: list[int]) -> measure.Answers:
    """One dict a photo to arrays."""
    if not values:
        return measure.Answers(np.zeros(0, np.int64), {}, np.zeros((0, EMBEDDING_DIM), np.float32))
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
    names = [o.name for o in net.get_outputs()]
    blocks = [net.run(None, {"features": seen.x[i : i + 512].astype(np.float32)}) for i in range(0, len(seen), 512)]
    whole = {name: np.concatenate([np.asarray(b[k]) for b in blocks]) for k, name in enumerate(names)} if blocks else {}
    z = whole.pop("embedding", np.zeros((0, EMBEDDING_DIM), np.float32))
    return measure.Answers(seen.photo, whole, z)


def replace(seen: measure.Answers, exact: measure.Answers, here: NDArray[np.int64]) -> dict[str, Any]:
    """Put the whole file's answers in place of those from the cache; returns how far they were apart."""
    cosine = (seen.z[here] * exact.z).sum(1)
    seen.z[here] = exact.z
    for name, values in exact.logits.items():
        seen.logits[name][here] = values
    return {"n": len(here), "min_cosine": float(cosine.min()), "mean_cosine": float(cosine.mean())}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--model", type=Path, default=options.REPOSITORY / "models/default")
    parser.add_argument("--trained", type=Path, default=options.home() / "trained.npz", help="for the names of the features")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--exact", type=int, default=10**9, help="val photos (and as many queries) through the whole file; "
                        "the others from the cache")  # fmt: skip
    parser.add_argument("--out", type=Path, default=options.home() / "figures.json")
    args = parser.parse_args()
    rows = dataset.read(args.table, args.sources)
    parts = json.loads(args.trained.with_suffix(".json").read_text())["parts"]
    listing = json.loads((args.model / "manifest.json").read_text())
    labels = {h["name"]: h["labels"] for h in listing["heads"]}
    model = (args.model / "model.onnx").read_bytes()
    rng = np.random.default_rng(args.seed)
    answers: dict[str, measure.Answers] = {}
    agreement: dict[str, Any] = {}
    for view in ("clean", "query", "hard"):
        answers[view] = from_cache(model, args, rows, parts, view)
        here = np.array([k for k, i in enumerate(answers[view].photo) if rows[i]["split"] == "val"], int)
        here = np.sort(rng.permutation(here)[: args.exact])
        if len(here):
            exact = through_file(model, args, rows, answers[view].photo[here].tolist(), view)
            agreement[view] = replace(answers[view], exact, here)
    queries = {view: answers[view] for view in ("query", "hard") if len(answers[view].photo)}
    seen = answers["clean"]
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
