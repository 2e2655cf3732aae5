"""The region head: where background, skin, hair and each kind of garment are, on the backbone's first three layers.

It reads maps that the backbone makes anyway (28x28 cells), so that it costs a few hundredths of the inference, and does
not read layer 4, so that it fits every recipe. Which garment is the product sold, the category says: its probabilities
weigh the garments (`weights`), inside the graph that ships.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn

from . import backbone, dataset, files, options, photos, regions_data
from .graph import Graph, Quantized, Ranges, add_backbone
from .layer4 import quantize_rows
from .regions_data import BIT, CLASSES, GARMENTS, SIDE, Sample

F32 = NDArray[np.float32]
#: Maps that the head reads: (C, H, W). The first is layer 1 averaged over 2x2.
MAPS = {"l1": (256, SIDE, SIDE), "l2": (512, SIDE, SIDE), "l3": (1024, SIDE // 2, SIDE // 2)}
WIDTH, MIDDLE = 96, 64
#: What the graph gives for each cell, in this order.
OUTPUTS = ("background", "skin", "hair", "product", "other")
STEP = backbone.ACT_RANGE[1] / 255
#: Share of skin and hair in a picture from which on somebody is in it: a hand, 12 of 784 cells.
PERSON = 0.015
#: How many samples of each kind a step takes.
MIX = {"parsing": 20, "rendered": 8, "shop": 12}


class Head(nn.Module):
    """Maps of three layers to logits (N, 8, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(MAPS["l1"][0], WIDTH, 1)
        self.mid = nn.Conv2d(MAPS["l2"][0], WIDTH, 1)
        self.high = nn.Conv2d(MAPS["l3"][0], WIDTH, 1)
        self.mix = nn.Conv2d(WIDTH, MIDDLE, 3, padding=1)
        self.out = nn.Conv2d(MIDDLE, len(CLASSES), 1)
        self.dropout = nn.Dropout2d(0.1)

    def steps(self, l1: Tensor, l2: Tensor, l3: Tensor) -> dict[str, Tensor]:
        """Every value between maps (as in MAPS, from 0 to 3) and logits `out`, by the name of its range."""
        low, mid, high = self.low(l1), self.mid(l2), self.high(l3)
        up = nn.functional.interpolate(high, scale_factor=2, mode="nearest")
        joined = torch.relu(low + mid + up)
        mixed = torch.relu(self.mix(self.dropout(joined)))
        return {"low": low, "mid": mid, "high": high, "joined": joined, "mixed": mixed, "out": self.out(mixed)}

    def forward(self, l1: Tensor, l2: Tensor, l3: Tensor) -> Tensor:
        """Logits (N, 8, 28, 28)."""
        return self.steps(l1, l2, l3)["out"]


def allowed(bits: Tensor) -> Tensor:
    """Bits (N, H, W) to one plane a class (N, classes, H, W), true where the class counts as right."""
    return ((bits[:, None] >> torch.arange(len(CLASSES))[None, :, None, None]) & 1) > 0


def loss(logits: Tensor, accepted: Tensor) -> Tensor:
    """Mean of -log(sum of the accepted classes' probabilities) over judged cells; `accepted` holds bits (N, H, W)."""
    logp = torch.log_softmax(logits, 1).masked_fill(~allowed(accepted), -1e4).logsumexp(1)
    return -logp[accepted > 0].mean()


def session(weights: Path, threads: int, batch: int) -> ort.InferenceSession:
    """The backbone up to layer 3, with MAPS as outputs."""
    g = Graph()
    taps = add_backbone(g, backbone.load(weights), "image", Quantized())
    out = {g.node("AveragePool", [taps["l1"]], "map.l1", kernel_shape=[2, 2], strides=[2, 2]): MAPS["l1"]}
    out |= {g.node("Identity", [taps[tap]], f"map.{tap}"): MAPS[tap] for tap in ("l2", "l3")}
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    return ort.InferenceSession(g.model(batch, out, "vitrine").SerializeToString(), settings, ["CPUExecutionProvider"])


def asked(args: argparse.Namespace) -> str:
    """What the cached samples depend on."""
    named = ("photos", "weights", "table", "sources", "views", "rendered", "shop")
    return json.dumps({name: str(getattr(args, name)) for name in named})


def is_filled(folder: Path, args: argparse.Namespace) -> bool:
    """True where the cache holds the samples that are asked for."""
    truth = folder / "truth.npz"
    return truth.exists() and str(np.load(truth)["asked"]) == asked(args)


def fill(args: argparse.Namespace, rows: list[dataset.Row]) -> None:
    """Cache samples, their truth and their maps."""
    samples, pixels, bits = regions_data.gather(args, rows)
    folder = args.cache / "regions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth.npz").unlink(missing_ok=True)  # the maps of other samples are about to be written over
    maps = {tap: open_memmap(folder / f"{tap}.npy", "w+", "uint8", (len(samples), *shape)) for tap, shape in MAPS.items()}
    batch = 4
    net = session(args.weights, args.threads, batch)
    for i in range(0, len(samples), batch):
        n = min(batch, len(samples) - i)
        x = np.zeros((batch, backbone.SIZE, backbone.SIZE, 3), np.uint8)
        x[:n] = pixels[i : i + n]
        for tap, value in zip(MAPS, net.run(None, {"image": photos.normalize(x)}), strict=True):
            maps[tap][i : i + n] = np.rint(np.asarray(value)[:n] / STEP)
    about = np.array([(s.kind, s.key, str(s.view), str(int(s.val))) for s in samples])
    files.write_arrays(folder / "truth.npz", {"bits": bits, "pixels": pixels, "about": about, "asked": asked(args)})
    print(f"{len(samples)} samples in {folder}", flush=True)


class Cached:
    """The cache of `fill`."""

    def __init__(self, folder: Path) -> None:
        truth = np.load(folder / "truth.npz")
        self.bits = torch.from_numpy(truth["bits"].astype(np.int64))
        self.samples = [Sample(kind, key, int(view), val == "1") for kind, key, view, val in truth["about"]]
        self.maps = {tap: np.load(folder / f"{tap}.npy", mmap_mode="r") for tap in MAPS}

    def take(self, index: NDArray[np.int64]) -> list[Tensor]:
        """The maps of some samples, f32."""
        return [torch.from_numpy(self.maps[tap][index]).float() * STEP for tap in MAPS]

    def where(self, kind: str, val: bool) -> NDArray[np.int64]:
        """Samples of a kind on one side."""
        return np.array([i for i, s in enumerate(self.samples) if s.kind == kind and s.val == val], np.int64)


def train(cached: Cached, args: argparse.Namespace) -> Head:
    """Fit the head; steps and mix are stated, so that the result depends on the seed alone."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    head = Head().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(head.parameters(), lr=args.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps + 1, pct_start=0.1)
    pools = {kind: cached.where(kind, False) for kind in MIX}
    began, shown = time.monotonic(), 0.0
    for step in range(1, args.steps + 1):
        index = np.sort(np.concatenate([rng.choice(pool, MIX[kind], False) for kind, pool in pools.items() if len(pool)]))
        with torch.autocast("cpu", torch.bfloat16):
            logits = head(*cached.take(index))
        value = loss(logits.float(), cached.bits[torch.from_numpy(index)])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        shown += value.item() / 100
        if step % 100 == 0:
            print(f"step {step}: loss {shown:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            shown = 0.0
    return head.eval()


def judged(head: Head, cached: Cached, index: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy of judged cells, and IoU of each class; a cell whose truth is a set counts as its likeliest member."""
    hit = np.zeros(len(CLASSES))
    said_sum, true_sum, right, total = np.zeros(len(CLASSES)), np.zeros(len(CLASSES)), 0, 0
    with torch.no_grad():
        for i in range(0, len(index), 32):
            part = index[i : i + 32]
            logits = head(*cached.take(part))
            bits = cached.bits[torch.from_numpy(part)]
            said = logits.argmax(1)
            truth = logits.masked_fill(~allowed(bits), -1e9).argmax(1)
            known = bits > 0
            right += int((said == truth)[known].sum())
            total += int(known.sum())
            for k in range(len(CLASSES)):
                a, b = (said == k) & known, (truth == k) & known
                hit[k] += int((a & b).sum())
                said_sum[k] += int(a.sum())
                true_sum[k] += int(b.sum())
    iou = hit / np.maximum(1, said_sum + true_sum - hit)
    names = [c for k, c in enumerate(CLASSES) if true_sum[k] >= 50]
    return {"pictures": len(index), "cells": right / max(1, total), "iou": {c: float(iou[CLASSES.index(c)]) for c in names}}


def weights(categories: list[str]) -> F32:
    """(categories, garments): 1 where a category may be that garment, less where the head mixes them up.

    The skirt of a dress may look like a skirt and a long top like a dress (0.5); a print on a shirt like goods (0.3).
    """
    clothing, parts = BIT["top"] | BIT["bottom"] | BIT["full"], BIT["top"] | BIT["bottom"]
    out = np.zeros((len(categories), len(GARMENTS)), np.float32)
    for i, category in enumerate(categories):
        own = regions_data.regions_of(category)
        for j, garment in enumerate(GARMENTS):
            alike = (garment == "full" and own & parts) or (BIT[garment] & parts and own & BIT["full"])
            print_ = garment == "goods" and own & clothing
            out[i, j] = 1.0 if own & BIT[garment] else 0.5 if alike else 0.3 if print_ else 0.0
    return out


def ranges_of(head: Head, cached: Cached, index: NDArray[np.int64]) -> dict[str, F32]:
    """How far each value reaches over samples: the 99.99th percentile of its absolute values."""
    seen: dict[str, list[float]] = {}
    with torch.no_grad():
        for i in range(0, len(index), 32):
            for name, value in head.steps(*cached.take(index[i : i + 32])).items():
                seen.setdefault(name, []).append(float(np.quantile(value.abs().numpy(), 0.9999)))
    return {f"regions.range.{name}": np.array(max(values), np.float32) for name, values in seen.items()}


def state(head: Head) -> dict[str, F32]:
    """Weights by name, as the exporter reads them."""
    return {f"regions.{name}": value.detach().float().contiguous().numpy() for name, value in head.state_dict().items()}


def load(path: Path) -> dict[str, F32]:
    """The head by name, from the file that this command wrote or from a bundle that has one."""
    return of_bundle(path) if path.is_dir() else dict(np.load(path))


def of_bundle(folder: Path) -> dict[str, F32]:
    """The head of a bundle, as `add` put it into `model.onnx`: exported again it is the same, bit for bit."""
    graph = onnx.load(folder / "model.onnx").graph
    held = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    made = {n.output[0]: n for n in graph.node}
    if "regions.out" not in made:
        raise SystemExit(f"{folder} has no region map")
    out: dict[str, F32] = {}
    for name in ("low", "mid", "high", "mix", "out"):
        conv = made[f"regions.{name}"]
        q, scale, _ = (held[i] for i in made[conv.input[1]].input)
        out[f"regions.{name}.weight"] = q.astype(np.float32) * scale.reshape(-1, 1, 1, 1)
        out[f"regions.{name}.bias"] = held[conv.input[2]]
    clips = {n.input[0]: n for n in graph.node if n.op_type == "Clip"}
    limits = {name: clips[f"regions.{name}"] for name in ("low", "mid", "high", "out")}
    limits |= {"joined": made[made["regions.mix"].input[0]], "mixed": made[made["regions.out"].input[0]]}
    return out | {f"regions.range.{name}": held[clip.input[2]] for name, clip in limits.items()}


def add(g: Graph, taps: dict[str, str], category: str, trained: dict[str, F32], categories: list[str], ranges: Ranges) -> str:
    """The head as graph nodes: output (1, 5, 28, 28), probabilities of OUTPUTS that sum to one in each cell."""

    def bound(x: str, name: str, lowest: float) -> str:
        reach = float(trained[f"regions.range.{name}"])
        return ranges.bound(g, x, lowest * reach, reach)

    def conv(x: str, name: str, pad: int = 0) -> str:
        weight = trained[f"regions.{name}.weight"]
        hint, k = f"regions.{name}", int(weight.shape[2])
        bias = g.const(hint + ".bias", trained[f"regions.{name}.bias"])
        return g.node("Conv", [x, g.dequantized(hint + ".weight", *quantize_rows(weight)), bias], hint,
                      kernel_shape=[k, k], pads=[pad] * 4)  # fmt: skip

    half = ranges.bound(g, g.node("AveragePool", [taps["l1"]], "regions.half", kernel_shape=[2, 2], strides=[2, 2]),
                        *backbone.ACT_RANGE)  # fmt: skip
    low, mid, high = (bound(conv(x, n), n, -1) for x, n in ((half, "low"), (taps["l2"], "mid"), (taps["l3"], "high")))
    up = g.node(
        "Resize", [high, "", g.const("twice", np.array([1, 1, 2, 2], np.float32))], "regions.up",
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    sides = float(trained["regions.range.low"] + trained["regions.range.mid"])
    both = ranges.bound(g, g.node("Add", [low, mid]), -sides, sides)
    x = bound(g.node("Relu", [g.node("Add", [both, up])]), "joined", 0)
    x = bound(g.node("Relu", [conv(x, "mix", 1)]), "mixed", 0)
    p = g.node("Softmax", [bound(conv(x, "out"), "out", -1)], "regions.classes", axis=1)
    n = len(GARMENTS)

    def part(start: int, stop: int) -> str:
        bounds = [g.const(f"at{v}", np.array([v], np.int64)) for v in (start, stop, 1)]
        return g.node("Slice", [p, *bounds], "regions.part")

    sold = g.node("MatMul", [g.node("Softmax", [category], axis=1), g.const("regions.sold", weights(categories))])
    share = g.node("Reshape", [sold, g.const("garments", np.array([1, n, 1, 1], np.int64))])
    garments = part(3, 3 + n)
    axis = g.const("axis1", np.array([1], np.int64))
    product = g.node("ReduceSum", [g.node("Mul", [garments, share]), axis], keepdims=1)
    every = g.node("ReduceSum", [garments, axis], keepdims=1)
    # Where nobody is seen, nobody wears other clothes: a folded skirt that looks like a towel is still what is sold.
    seen = g.node("ReduceMean", [g.node("ReduceSum", [part(1, 3), axis], keepdims=1)], axes=[2, 3], keepdims=1)
    person = g.node("Mul", [seen, g.const("person", np.array([[[[1 / PERSON]]]], np.float32))])
    person = g.node("Clip", [person, *(g.const("bound", np.array(v, np.float32)) for v in (0.0, 1.0))])
    other = g.node("Mul", [g.node("Sub", [every, product]), person])
    return g.node("Concat", [part(0, 3), g.node("Sub", [every, other]), other], "regions", axis=1)


def main() -> None:
    """Cache, train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--out", type=Path, default=options.home() / "regions.npz")
    parser.add_argument("--views", type=int, default=3, help="of each street photo")
    parser.add_argument("--rendered", type=int, default=400, help="drawn pictures")
    parser.add_argument("--shop", type=int, default=1500, help="shop photos, of which those on plain ground are used")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    args = options.parse(parser)
    folder = args.cache / "regions"
    if not is_filled(folder, args):
        fill(args, dataset.read(args.table, args.sources))
    cached = Cached(folder)
    head = train(cached, args)
    figures = {kind: judged(head, cached, cached.where(kind, True)) for kind in ("parsing", "rendered")}
    for kind, found in figures.items():
        shown = " ".join(f"{c} {v:.3f}" for c, v in found["iou"].items())
        print(f"{kind}: {found['pictures']} pictures, cells {found['cells']:.3f}, IoU {shown}")
    some = np.random.default_rng(args.seed).permutation(np.concatenate([cached.where(kind, False) for kind in MIX]))[:480]
    files.write_arrays(args.out, {**state(head), **ranges_of(head, cached, some)})
    files.write_text(args.out.with_suffix(".json"), json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
