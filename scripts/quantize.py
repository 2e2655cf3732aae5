"""Adds `model.int8.onnx` to a bundle: the same weights for engines that run 8-bit integers fast.

Static, per channel, QuantizeLinear/DequantizeLinear. Most ranges are known: every convolution of the backbone clips, by
its own definition. Those of the last layers are measured on training photos (99.99th percentile).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from . import answers, dataset, export, golden, options, photos
from .evaluate import Bundle, between
from .graph import Clipped, Quantized

#: What may be lost on photos that were not used to calibrate: mean cosine of embeddings.
LEAST_COSINE = 0.99
#: Exit code of a quantisation that loses more: models of few photos do.
UNFIT = 3


def reaches(model: bytes, rows: list[dataset.Row]) -> dict[str, float]:
    """How far each measured value goes over photos."""
    net = answers.session(model)
    seen: dict[str, list[float]] = {name: [] for name in export.MEASURED}
    for row in rows:
        x = photos.normalize(photos.stretch(photos.load(Path(row["file"]))))[None]
        for name, value in zip(export.MEASURED, net.run(list(export.MEASURED), {"image": x}), strict=True):
            seen[name].append(float(np.quantile(np.abs(np.asarray(value)), 0.9999)))
    return {name: float(np.quantile(values, 0.99)) for name, values in seen.items()}


def small_model(args: argparse.Namespace, rows: list[dataset.Row]) -> bytes:
    """The int8 file of trained weights."""
    trained, labels = export.load_trained(args.trained, args.regions)
    parts = json.loads(args.trained.with_suffix(".json").read_text())["parts"]
    train = [r for r in rows if r["split"] == "train"]
    some = [train[i] for i in np.random.default_rng(args.seed).permutation(len(train))[: args.photos_used]]
    traced = export.build(args.weights, trained, labels, parts, Clipped(), also=export.MEASURED)
    reach = reaches(traced.SerializeToString(), some)
    print(f"measured on {len(some)} training photos: {reach}", flush=True)
    return export.build(args.weights, trained, labels, parts, Quantized(), reach).SerializeToString(deterministic=True)


def main() -> None:
    """Build, compare with the f32 file on validation photos, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--trained", type=Path, default=options.home() / "trained.npz")
    parser.add_argument("--regions", type=Path, help="weights of the region head, as given to export")
    parser.add_argument("--out", type=Path, default=options.REPOSITORY / "models/default", help="the bundle that export wrote")
    parser.add_argument("--photos-used", type=int, default=300, help="training photos to measure ranges on")
    parser.add_argument("--compared", type=int, default=200, help="validation photos to compare on")
    parser.add_argument("--workers", type=int, default=2)
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    bundle = Bundle.open(args.out)
    model = small_model(args, rows)
    val = [i for i, r in enumerate(rows) if r["split"] == "val"]
    some = np.sort(np.random.default_rng(args.seed).permutation(val)[: args.compared]).tolist()
    pair = [answers.ask(file, rows, some, "clean", args.seed, args.workers) for file in (bundle.model(), model)]
    apart = between(*pair)
    print(f"int8 against f32 on {apart['n']} validation photos: {apart}")
    if apart["mean_cosine"] < LEAST_COSINE:
        cosine = f"{apart['mean_cosine']:.4f}"
        print(f"embeddings agree to a cosine of {cosine} only, expected {LEAST_COSINE}: the bundle stays without int8")
        raise SystemExit(UNFIT)
    listing: dict[str, Any] = dict(bundle.listing)
    files = {name: (args.out / name).read_bytes() for name in bundle.listing["files"]}
    files |= {"model.int8.onnx": model, "golden.json": golden.cases(files["model.onnx"], model)}
    listing["files"] = {name: export.digest(data) for name, data in files.items()}
    export.publish(args.out, files, listing)
    print(f"{args.out}: version {listing['version']}, model.int8.onnx {len(model)} bytes")


if __name__ == "__main__":
    main()
