"""A second opinion: MobileNetV2 beside the backbone, as soft targets for training and as a yardstick.

Why: the labels are few (a pattern is known of one photo in four). Heads fitted on both networks' features are better
than on either, and what they say of every photo, also of those without a label, is a target for the one network that
ships. Each photo's targets come from heads that were fitted without it (k folds by product), else they would only
repeat the label.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import dataset, features, files, measure, options, photos, split, train
from .net import Axes, spread
from .taxonomy import Taxonomy

F32 = NDArray[np.float32]
#: The network's last pooled features, by their place in the TFLite file, and the step and offset of its int8 values.
POOLED, WIDTH = 171, 1280
STEP, OFFSET = 0.0235294122248888, 128

_net: Any = None


def _start(file: Path) -> None:
    global _net
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    _net = Interpreter(
        str(file), num_threads=1, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )  # fmt: skip
    _net.allocate_tensors()


def _features(path: Path) -> NDArray[np.float16]:
    """(1280,): the mean over the last map. Its input is (x - 127) / 127.5, quantised: the pixel itself."""
    _net.set_tensor(0, photos.stretch(photos.load(path))[None])
    _net.invoke()
    last = _net.get_tensor(POOLED).astype(np.float32)
    return ((last.mean((0, 1, 2)) + OFFSET) * STEP).astype(np.float16)


def fill(args: argparse.Namespace, rows: list[dataset.Row]) -> None:
    """Cache the features of every photo: one array a source, in the order of the table."""
    for source in args.sources:
        out = args.cache / source / "teacher.npy"
        if out.exists():
            continue
        paths = [Path(row["file"]) for row in rows if row["source"] == source]
        with multiprocessing.Pool(args.workers, _start, (args.teacher,)) as pool:
            values = np.stack(pool.map(_features, paths, chunksize=64))
        with files.replacing(out) as staged, staged.open("wb") as f:
            np.save(f, values)
        print(f"{source}: {len(values)} photos", flush=True)


def features_of(args: argparse.Namespace, rows: list[dataset.Row]) -> NDArray[np.float16]:
    """(rows, 1280)."""
    out = np.zeros((len(rows), WIDTH), np.float16)
    for source in sorted({row["source"] for row in rows}):
        values = np.load(args.cache / source / "teacher.npy")
        here = [i for i, row in enumerate(rows) if row["source"] == source]
        if len(values) != len(here):
            raise SystemExit(f"{args.cache / source / 'teacher.npy'} was made for other photos: remove it")
        out[here] = values
    return out


def folds(rows: list[dataset.Row], k: int) -> NDArray[np.int64]:
    """The fold of every training photo, by product; -1 for validation photos."""
    return np.array([split.fold(r["product_id"], k) if r["split"] == "train" else -1 for r in rows])


def logits(args: argparse.Namespace, x: torch.Tensor, rows: list[dataset.Row], labels: dict[str, list[str]],
           chosen: NDArray[np.int64], asked: NDArray[np.int64]) -> dict[str, F32]:  # fmt: skip
    """Heads fitted on the photos `chosen`; their logits for the photos `asked`."""
    how = argparse.Namespace(
        seed=args.seed, threads=args.threads, hidden=512, dropout=0.5, batch=512, epochs=args.epochs, lr=2e-3, weight_decay=2e-2,
        proto_scale=16.0, bank=0, smoothing=0.02, temperature=0.05, instance_weight=0.0, pull_weight=0.0,
    )  # fmt: skip
    net, _ = train.fit(how, x[torch.from_numpy(chosen)], chosen, rows, labels)
    with torch.no_grad():
        return {h: v.numpy() for h, v in net.logits(x[torch.from_numpy(asked)]).items()}


def inputs(args: argparse.Namespace, rows: list[dataset.Row], which: str) -> torch.Tensor:
    """What heads read: the teacher's features, the backbone's (`own`), or both."""
    parts = []
    if which in ("teacher", "both"):
        parts.append(standardised(features_of(args, rows)))
    if which in ("own", "both"):
        seen = dataset.views(args.cache, rows, ["clean"], dataset.columns(list(features.USED)))
        if len(seen) < len(rows):
            raise SystemExit(f"{len(rows) - len(seen)} photos are not in the cache: run scripts.features first")
        own = np.empty_like(seen.x)
        own[seen.photo] = seen.x
        parts.append(Axes.fit(own, 1536, 0.6).turn(own))
    return torch.cat(parts, 1)


def standardised(x: NDArray[np.float16]) -> torch.Tensor:
    """Each feature to mean 0 and deviation 1."""
    wide = torch.from_numpy(x.astype(np.float32))
    mean, std = spread(wide)
    return (wide - mean) / std


def applies(rows: list[dataset.Row], labels: dict[str, list[str]]) -> dict[str, NDArray[np.bool_]]:
    """Per head, the photos for which it makes sense as far as their category is known."""
    out = {}
    for head in labels:
        only = Taxonomy().applies_to(head, labels["category"])
        kinds = None if only is None else set(only)
        out[head] = np.array([
            bool(row[head]) or (bool(row["category"]) and (kinds is None or bool(kinds & set(row["category"].split("|")))))
            for row in rows
        ])  # fmt: skip
    return out


def soft(args: argparse.Namespace, rows: list[dataset.Row], labels: dict[str, list[str]]) -> dict[str, F32]:
    """Per head (photos, labels): probabilities, each photo's from folds that did not hold it; zeros where none apply."""
    x = inputs(args, rows, "both")
    fold = folds(rows, args.folds)
    known = applies(rows, labels)
    out = {h: np.zeros((len(rows), len(names)), np.float32) for h, names in labels.items()}
    for k in range(args.folds):
        chosen, asked = np.flatnonzero((fold >= 0) & (fold != k)), np.flatnonzero(fold == k)
        for head, values in logits(args, x, rows, labels, chosen, asked).items():
            out[head][asked] = measure.softmax(values)
    for head, here in known.items():
        out[head][~here] = 0
    return out


def probe(args: argparse.Namespace, rows: list[dataset.Row], labels: dict[str, list[str]], which: str) -> dict[str, Any]:
    """Figures on validation photos of heads on the features `which`."""
    side = np.array([r["split"] == "val" for r in rows])
    x = inputs(args, rows, which)
    asked = np.flatnonzero(side)
    said = logits(args, x, rows, labels, np.flatnonzero(~side), asked)
    accepted = dataset.targets(rows, labels)
    figures: dict[str, Any] = {h: measure.head(v, accepted[h][asked]) for h, v in said.items()}
    figures["category_30"] = measure.category_30(rows, labels["category"], asked, said["category"])
    return figures


def main() -> None:
    """Cache the features, print the yardsticks, write the soft targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    teacher = options.REPOSITORY / "../shared/weights/tf2_mobilenet_v2_1.0_224_ptq.tflite"
    parser.add_argument("--teacher", type=Path, default=teacher, help="MobileNetV2 as TFLite (pip install ai-edge-litert)")
    parser.add_argument("--out", type=Path, default=options.home() / "soft.npz")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--probe", action="store_true", help="only the figures of heads on teacher, own and both")
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    fill(args, rows)
    labels = dataset.label_sets(rows)
    if args.probe:
        for which in ("teacher", "own", "both"):
            figures = probe(args, rows, labels, which)
            shown = " ".join(f"{h} {f['accuracy']:.3f}/{f['macro_f1']:.3f}" for h, f in figures.items() if "macro_f1" in f)
            print(f"{which}: {shown}; frequent categories {figures['category_30']['accuracy']:.4f}", flush=True)
        return
    files.write_arrays(args.out, {"paths": np.array([r["path"] for r in rows]), **soft(args, rows, labels)})
    print(f"{args.out}: soft targets of {len(rows)} photos")


if __name__ == "__main__":
    main()
