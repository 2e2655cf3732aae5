"""Writes a bundle `models/<name>/`: model.onnx, manifest.json, golden.json, CARD.md; and tensors for tests.

The file that ships is built here from the weights, not traced: plain operators only, batch 1,
convolutions and the two wide layers as int8 initialisers behind one `DequantizeLinear` each.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from . import backbone, card, golden, options, regions
from .full import Whole
from .graph import Clipped, Graph, Ranges, add_backbone, pool
from .layer4 import Layer4, quantize_rows
from .net import EMBEDDING_DIM
from .taxonomy import HEADS, Taxonomy

F32 = NDArray[np.float32]
#: Values of the last layers whose range is not known by construction, and is measured on photos for the int8 file.
MEASURED = ("standard", "hidden.relu")


def linear(g: Graph, x: str, weight: F32, bias: F32, hint: str, small: bool) -> str:
    """`x @ weight.T + bias`; int8 weights where they are many."""
    name = g.const(hint + ".weight", weight) if small else g.dequantized(hint + ".weight", *quantize_rows(weight))
    return g.node("Gemm", [x, name, g.const(hint + ".bias", bias)], hint, transB=1)


def trained_backbone(weights: Path, trained: dict[str, F32]) -> backbone.Backbone:
    """The published backbone, with what was trained of it: layer 4, or all of it."""
    net = backbone.load(weights)

    def state(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): torch.from_numpy(v) for name, v in trained.items() if name.startswith(prefix)}

    if found := state("whole."):
        whole = Whole(net)
        whole.load_state_dict(found)
        return whole.into(net)
    if found := state("layer4."):
        layer4 = Layer4(net)
        layer4.load_state_dict(found)
        return layer4.into(net)
    return net


def build(weights: Path, trained: dict[str, F32], labels: dict[str, list[str]], parts: list[str], ranges: Ranges,
          reach: dict[str, float] | None = None, also: tuple[str, ...] = ()) -> onnx.ModelProto:  # fmt: skip
    """The whole graph: image to logits, embedding and (where trained) region map.

    `ranges` say in which precision the backbone runs; `reach`, how far the values named in MEASURED go, where the last
    layers are to run in 8 bits too; `also` names values that become outputs.
    """
    g = Graph()

    def bound(x: str, name: str, lowest: float) -> str:
        return x if reach is None else ranges.bound(g, x, lowest * reach[name], reach[name])

    taps = add_backbone(g, trained_backbone(weights, trained), "image", ranges)
    pooled = [pool(g, taps, *p.split(".")) for p in parts]
    features = g.node("Concat", pooled, "features", axis=1)
    scale = (1 / trained["std"]).astype(np.float32)[None]
    shift = (-trained["mean"] / trained["std"]).astype(np.float32)[None]
    x = g.node("Mul", [features, g.const("standard.scale", scale)], "standard.mul")
    x = bound(g.node("Add", [x, g.const("standard.shift", shift)], "standard"), "standard", -1)
    hidden = g.node("Relu", [linear(g, x, trained["hidden.weight"], trained["hidden.bias"], "hidden", False)], "hidden.relu")
    hidden = bound(hidden, "hidden.relu", 0)
    for head in labels:
        linear(g, hidden, trained[f"head.{head}.weight"], trained[f"head.{head}.bias"], head, True)
    raw = linear(g, x, trained["embedding.weight"], trained["embedding.bias"], "embedding.raw", False)
    square = g.node("ReduceMean", [g.node("Mul", [raw, raw])], axes=[1], keepdims=1)
    length = g.node("Mul", [g.node("Sqrt", [square]), g.const("root", np.array([[EMBEDDING_DIM**0.5]], np.float32))])
    g.node("Div", [raw, length], "embedding")
    outputs: dict[str, int | tuple[int, ...]] = {head: len(names) for head, names in labels.items()}
    outputs["embedding"] = EMBEDDING_DIM
    if "regions.out.weight" in trained:
        name = regions.add(g, taps, "category", trained, labels["category"], ranges)
        outputs[name] = (len(regions.OUTPUTS), regions.SIDE, regions.SIDE)
    width = {"standard": trained["hidden.weight"].shape[1], "hidden.relu": trained["hidden.weight"].shape[0]}
    return g.model(1, outputs | {name: width[name] for name in also}, "vitrine")


def head_entries(labels: dict[str, list[str]], figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifest's `heads`, with temperature and threshold as fitted on validation."""
    taxonomy = Taxonomy()
    out = []
    for name in HEADS:
        if name not in labels:
            continue
        only = taxonomy.applies_to(name, labels["category"])
        known = None if only is None else {"category": only}
        fitted = figures.get("heads", {}).get(name, {})  # none yet: nothing is asserted
        out.append(
            {
                "name": name, "kind": "single", "output": name, "labels": labels[name],
                "temperature": round(fitted.get("temperature", 1.0), 4),
                "threshold": round(fitted.get("threshold", 1.0), 4), "applies_to": known,
            }
        )  # fmt: skip
    return out


def digest(data: bytes) -> dict[str, Any]:
    """A file's entry in the manifest."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def manifest(name: str, heads: list[dict[str, Any]], files: dict[str, bytes], date: str, has_regions: bool) -> dict[str, Any]:
    """manifest.json; the version says the day and what is inside."""
    content = hashlib.sha256(files["model.onnx"] + json.dumps(heads, sort_keys=True).encode()).hexdigest()
    return {
        "format": 1, "name": name, "version": f"{date}-{content[:8]}", "architecture": "resnet50",
        "files": {file: digest(data) for file, data in files.items()},
        "input": {
            "name": "image", "width": backbone.SIZE, "height": backbone.SIZE, "channels": "rgb", "layout": "nchw",
            "resize": "stretch_bilinear", "mean": list(backbone.MEAN), "std": list(backbone.STD),
        },
        "embedding": {"output": "embedding", "dim": EMBEDDING_DIM},
        "regions": {"output": "regions", "width": regions.SIDE, "height": regions.SIDE, "classes": list(regions.OUTPUTS)}
        if has_regions else None,
        "heads": heads,
    }  # fmt: skip


def kept(folder: Path, model: bytes) -> dict[str, bytes]:
    """The int8 file of a bundle that has this very model already: it is made from the same weights."""
    small, whole = folder / "model.int8.onnx", folder / "model.onnx"
    if small.exists() and whole.exists() and whole.read_bytes() == model:
        return {"model.int8.onnx": small.read_bytes()}
    return {}


def publish(folder: Path, files: dict[str, bytes], listing: dict[str, Any]) -> None:
    """Write beside the live folder, then swap: a reader sees the old bundle or the new one, whole."""
    staged, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (staged, old):
        shutil.rmtree(leftover, ignore_errors=True)
    staged.mkdir(parents=True)
    for name, data in files.items():
        (staged / name).write_bytes(data)
    (staged / "manifest.json").write_text(json.dumps(listing, indent=1) + "\n")
    if folder.exists():
        os.rename(folder, old)
    os.rename(staged, folder)
    shutil.rmtree(old, ignore_errors=True)


def load_trained(trained: Path, region_head: Path | None) -> tuple[dict[str, F32], dict[str, list[str]]]:
    """Weights by name, with those of the region head where given, and the labels of each head that has any."""
    about = json.loads(trained.with_suffix(".json").read_text())
    weights = dict(np.load(trained)) | (regions.load(region_head) if region_head else {})
    return weights, {head: about["labels"][head] for head in HEADS if about["labels"].get(head)}


def main() -> None:
    """Build, check, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--trained", type=Path, default=options.home() / "trained.npz")
    parser.add_argument("--regions", type=Path, help="weights of the region head (scripts.regions), or a bundle that has one")
    parser.add_argument("--figures", type=Path, help="JSON of `evaluate` on this model: refits thresholds, fills the card")
    parser.add_argument("--out", type=Path, default=options.REPOSITORY / "models/default")
    parser.add_argument("--date", default=datetime.date.today().isoformat(), help="first part of the version")
    parser.add_argument("--test-data", type=Path, help="also write golden preprocessing tensors there")
    args = options.parse(parser)
    about = json.loads(args.trained.with_suffix(".json").read_text())
    figures = json.loads(args.figures.read_text()) if args.figures else about["figures"]
    trained, labels = load_trained(args.trained, args.regions)
    model = build(args.weights, trained, labels, about["parts"], Clipped()).SerializeToString(deterministic=True)
    heads = head_entries(labels, figures)
    small = kept(args.out, model)
    files = {
        "model.onnx": model,
        "golden.json": golden.cases(model, small.get("model.int8.onnx")),
        "CARD.md": card.text(args.out.name, about, figures, heads, args.regions is not None).encode(),
        **small,
    }
    if "training" in figures:
        own = {"recipe": about.get("recipe", "linear"), "settings": about.get("settings", {})}
        files["training.json"] = (json.dumps(figures["training"] | own, sort_keys=True) + "\n").encode()
    listing = manifest(args.out.name, heads, files, args.date, args.regions is not None)
    publish(args.out, files, listing)
    print(f"{args.out}: version {listing['version']}, " + ", ".join(f"{n} {len(d)} bytes" for n, d in files.items()))
    if args.test_data:
        golden.preprocessing(args.test_data)


if __name__ == "__main__":
    main()
