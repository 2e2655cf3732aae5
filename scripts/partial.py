"""The partial recipe: layer 4 trained with heads and embedding, from cached maps; writes `trained.npz` and `.json`.

Stage one fits heads and embedding on the cached pooled features, as `train` does, so that stage two starts
from gradients that mean something; stage two trains everything from layer 4 on, and an exponential mean of the
weights is kept; stage three fits heads and embedding anew on what layer 4 has become, with large batches.
A checkpoint is written every few minutes, on SIGTERM and on a cloud's notice; the same command goes on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import backbone, dataset, features, loop, measure, options, search
from .interrupt import Interrupt
from .layer4 import Layer4
from .net import Axes, Net, spread
from .train import Sampler, Targets, about, adjust, fit, last_layers, write

FROZEN, TRAINED = features.USED[:-1], features.USED[-1:]


@dataclass
class Cached:
    """Views with what both stages read: `fixed` (n, k) f32, `pooled` (n, 2048) f32, and where their maps lie."""

    fixed: Tensor
    pooled: Tensor
    photo: NDArray[np.int64]
    files: list[NDArray[np.uint8]]
    where: NDArray[np.int64]  # (n, 2): file and row in it

    def of(self, index: NDArray[np.int64]) -> Cached:
        """Some of the views."""
        some = torch.from_numpy(index)
        return Cached(self.fixed[some], self.pooled[some], self.photo[index], self.files, self.where[index])

    def maps(self, index: NDArray[np.int64]) -> Tensor:
        """(len(index), 1024, 14, 14) f32, read from disk in the order of the files."""
        out = np.empty((len(index), *features.MAP_SHAPE), np.uint8)
        for k in np.lexsort((self.where[index, 1], self.where[index, 0])):
            file, row = self.where[index[k]]
            out[k] = self.files[file][row]
        return torch.from_numpy(out).float() * features.MAP_STEP


def locate(cache: Path, rows: list[dataset.Row], names: list[str]) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Map files, and (file, row) of every view in the order of `dataset.views`."""
    held: list[NDArray[np.uint8]] = []
    where: list[NDArray[np.int64]] = []
    for source, name, here in dataset.cached(cache, rows, names):
        held.append(np.load(cache / source / name / "maps.npy", mmap_mode="r"))
        lines = np.flatnonzero(here >= 0)
        where.append(np.stack([np.full(len(lines), len(held) - 1), lines], 1))
    return held, np.concatenate(where)


class Model(loop.Trainee):
    """Layer 4 and what reads it. `fixed` are the turned features of the earlier layers."""

    mean: Tensor
    std: Tensor

    def __init__(self, layer4: Layer4, net: Net, pulls: nn.ModuleDict, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.layer4, self.net, self.pulls = layer4, net, pulls
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def inputs(self, fixed: Tensor, pooled: Tensor) -> Tensor:
        """What heads and embedding read: (n, k + 2048)."""
        return torch.cat([fixed, (pooled - self.mean) / self.std], 1)


def batches(cached: Cached, category: NDArray[np.int64], args: argparse.Namespace,
            epoch: int) -> loop.Batches:  # fmt: skip
    """The batches of an epoch: a function of seed and epoch alone, so that a resumed run meets the same."""
    sampler = Sampler(cached.photo, category, args.batch, args.seed * 1000 + epoch, chunk=args.chunk)
    return sampler.epoch()


def train(model: Model, cached: Cached, rows: list[dataset.Row], labels: dict[str, list[str]], args: argparse.Namespace,
          interrupt: Interrupt) -> bool:  # fmt: skip
    """Stage two; true when it is through."""
    category = dataset.codes([r["category"] for r in rows])
    groups = loop.groups(model, model.layer4, args.lr_layer4, args.lr_heads)

    def look(_: int, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        maps = cached.maps(index).to(memory_format=torch.channels_last)
        with loop.autocast(args, maps.device):
            pooled = model.layer4(maps)
        x = model.inputs(cached.fixed[torch.from_numpy(index)], pooled.float())
        return x, torch.from_numpy(cached.photo[index])

    def epoch_of(epoch: int) -> loop.Batches:
        return batches(cached, category, args, epoch)

    targets = Targets.of(rows, labels, args.soft)
    return loop.run(model, groups, args.epochs, epoch_of, look, targets, args, interrupt)


def pooled(model: Model, cached: Cached, index: NDArray[np.int64]) -> Tensor:
    """Layer 4's output over views, in f32 (as the file that ships computes it) where no autocast says otherwise."""
    out = torch.empty(len(index), 2048)
    with torch.no_grad():
        for i in range(0, len(index), 128):
            part = index[i : i + 128]
            out[i : i + 128] = model.layer4(cached.maps(part).to(memory_format=torch.channels_last))
    return out


def answers(model: Model, cached: Cached, index: NDArray[np.int64]) -> measure.Answers:
    """What the model says of the views `index`."""
    model.eval()
    with torch.no_grad():
        x = model.inputs(cached.fixed[torch.from_numpy(index)], pooled(model, cached, index))
        logits = {h: v.numpy() for h, v in model.net.logits(x).items()}
        return measure.Answers(cached.photo[index], logits, model.net.embed(x).numpy())


def load(args: argparse.Namespace, rows: list[dataset.Row], names: list[str], axes: Axes | None) -> tuple[Cached, Axes]:
    """Cached views called `names`; the axes are fitted on them where none are given."""
    fixed = dataset.views(args.cache, rows, names, dataset.columns(list(FROZEN)))
    tail = dataset.views(args.cache, rows, names, dataset.columns(list(TRAINED)))
    axes = axes or Axes.fit(fixed.x[:: max(1, len(fixed) // args.fit_axes)], args.axes, args.evenness)
    held, where = locate(args.cache, rows, names)
    return Cached(axes.turn(fixed.x), torch.from_numpy(tail.x.astype(np.float32)), fixed.photo, held, where), axes


def main() -> None:
    """Both stages, figures on validation photos, weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    loop.add_options(parser, "partial")
    parser.add_argument("--out", type=Path, default=options.home() / "partial.npz")
    parser.add_argument("--axes", type=int, default=1024)
    parser.add_argument("--evenness", type=float, default=0.6)
    parser.add_argument("--fit-axes", type=int, default=20_000, help="views that the axes are fitted on")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--epochs-heads", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr-layer4", type=float, default=3e-4, help="of weights that start at +1 and -1")
    parser.add_argument("--proto-scale", type=float, default=16.0)
    parser.add_argument("--epochs-refit", type=int, default=24, help="of stage three; 0 keeps what stage two ended with")
    parser.add_argument("--bank", type=int, default=8192, help="negatives beside the batch in stage three")
    parser.add_argument("--views", type=int, default=99)
    search.add_options(parser)
    parser.add_argument("--epochs-search", type=int, default=1, help="of stage two in each fit of the search")
    parser.add_argument("--unmeasured", action="store_true", help="no figures: `evaluate` takes them from the exported file")
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    labels = dataset.label_sets(rows)
    train_rows = [r if r["split"] == "train" else {**r, "path": ""} for r in rows]
    names = ["clean", *dataset.augmented_names(args.cache)[: args.views]]
    cached, axes = load(args, train_rows, names, None)
    torch.set_num_threads(args.threads)
    with Interrupt(args.cloud) as interrupt:
        if args.folds:
            clean = dataset.clean_rows(args.cache, train_rows, names)
            change = search.search("partial", args, without(cached, clean, rows, labels, interrupt))
            if change is None:
                raise loop.stopped(args, interrupt)
            vars(args).update(change)
        model = begin(args, cached, rows, labels)
        if not train(model, cached, rows, labels, args, interrupt):
            raise loop.stopped(args, interrupt)
    if args.epochs_refit:
        refit(model, cached, rows, labels, args)
    adjust(model.net, rows, labels, args.tau)
    figures: dict[str, Any] = {}
    if not args.unmeasured:
        figures = evaluate(model, args, rows, labels, axes)
        print(measure.lines(figures))
    save(args.out, model, axes, labels, about(args, "partial", figures, len(cached.photo)))


def begin(args: argparse.Namespace, cached: Cached, rows: list[dataset.Row], labels: dict[str, list[str]]) -> Model:
    """Stage one: layer 4 as published, heads and embedding fitted on what it gives."""
    mean, std = spread(cached.pooled)
    torch.manual_seed(args.seed)
    x = torch.cat([cached.fixed, (cached.pooled - mean) / std], 1)
    net, pulls = fit(heads_only(args, args.epochs_heads, 0), x, cached.photo, rows, labels)
    return Model(Layer4(backbone.load(args.weights)), net.train(), pulls, mean, std)


def without(cached: Cached, clean: NDArray[np.int64], rows: list[dataset.Row], labels: dict[str, list[str]],
            interrupt: Interrupt) -> search.Fit:  # fmt: skip
    """How the search fits: stages one and two in short, judged on clean photos of the fold held back."""

    def one(how: argparse.Namespace, k: int) -> float | None:
        fold = search.folds(rows, cached.photo, how.folds)
        own = np.flatnonzero(fold != k)
        quick = argparse.Namespace(**{**vars(how), "epochs": how.epochs_search, "checkpoint": search.checkpoint(how)})
        part = cached.of(own)
        model = begin(quick, part, rows, labels)
        if not train(model, part, rows, labels, quick, interrupt):
            return None
        quick.checkpoint.unlink()
        said = answers(model, cached, clean[fold[clean] == k])
        return search.score(said.logits, said.photo, rows, labels)

    return one


def heads_only(args: argparse.Namespace, epochs: int, bank: int) -> argparse.Namespace:
    """The arguments of `train.fit` for stages one and three."""
    return argparse.Namespace(**{**vars(args), "epochs": epochs, "batch": 512, "lr": 2e-3, "weight_decay": 1e-2,
                                 "bank": bank, "threads": args.threads})  # fmt: skip


def refit(model: Model, cached: Cached, rows: list[dataset.Row], labels: dict[str, list[str]], args: argparse.Namespace) -> None:
    """Stage three: layer 4's output of every view once, then heads and embedding on it."""
    began = time.monotonic()
    model.eval()
    with loop.autocast(args, torch.device("cpu")):
        out = pooled(model, cached, np.arange(len(cached.photo)))
    print(f"layer 4 of {len(out)} views: {time.monotonic() - began:.0f} s", flush=True)
    model.mean, model.std = spread(out)
    x = torch.cat([cached.fixed, out.sub_(model.mean).div_(model.std)], 1)
    how = heads_only(args, args.epochs_refit, args.bank)
    net, pulls = fit(how, x, cached.photo, rows, labels, Targets.of(rows, labels, args.soft))
    model.net, model.pulls = net, pulls


def evaluate(model: Model, args: argparse.Namespace, rows: list[dataset.Row], labels: dict[str, list[str]],
             axes: Axes) -> dict[str, Any]:  # fmt: skip
    """All figures on clean photos and changed queries, as `evaluate` prints them."""
    seen, queries = {}, {}
    for view in ("clean", "query", "hard"):
        cached, _ = load(args, rows, [view], axes)
        if len(cached.photo):
            seen[view] = answers(model, cached, np.arange(len(cached.photo)))
    queries = {view: seen[view] for view in seen if view != "clean"}
    return measure.figures(rows, labels, seen["clean"], queries)


def save(path: Path, model: Model, axes: Axes, labels: dict[str, list[str]], notes: dict[str, object]) -> None:
    """Layer 4 as state, the last layers with the axes' turn folded in."""
    turn = axes.axes.T.astype(np.float64)
    k = turn.shape[0]

    def folded(weight: Tensor) -> NDArray[np.float32]:
        w = weight.detach().numpy().astype(np.float64)
        return np.concatenate([w[:, :k] @ turn, w[:, k:]], 1).astype(np.float32)

    arrays: dict[str, Any] = {
        "mean": np.concatenate([axes.mean, model.mean.numpy()]), "std": np.concatenate([axes.std, model.std.numpy()]),
        **last_layers(model.net, folded),
        **{f"layer4.{name}": value.numpy() for name, value in model.layer4.state_dict().items()},
    }  # fmt: skip
    write(path, arrays, labels, [*FROZEN, *TRAINED], notes)


if __name__ == "__main__":
    main()
