"""Trains all heads and the embedding on cached features; writes `trained.npz` and `trained.json`.

Every step takes photos in groups of one category (so that the embedding meets look-alikes) and two
views of each photo. Heads see every view; labels that a source does not state are masked.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import dataset, features, files, measure, options, search
from .net import Axes, Net, Prototypes, accepted_loss, instance_loss, soft_loss

#: What each head's loss counts. The colour a merchant writes is hard and matters to shoppers.
HEAD_WEIGHTS = {"category": 2.0, "base_color": 1.5}
#: Labels that also pull in the embedding: (head, weight).
PULLS = (("category", 1.0), ("base_color", 0.15), ("gender", 0.15))
CHUNK = 32


@dataclass
class Targets:
    """What a photo should become, rows as in the label table."""

    accepted: dict[str, Tensor]  # per head (n, labels): 1 for every accepted label
    soft: dict[str, Tensor]  # per head (n, labels): the teacher's probabilities, zeros where it has no say
    product: Tensor  # (n,): equal for photos of one product

    @classmethod
    def of(cls, rows: list[dataset.Row], labels: dict[str, list[str]], soft: Path | None) -> Targets:
        """From the table and, where given, the file that `teacher` wrote for the same photos."""
        accepted = {h: torch.from_numpy(t) for h, t in dataset.targets(rows, labels).items()}
        taught: dict[str, Tensor] = {}
        if soft is not None:
            said = np.load(soft)
            if said["paths"].tolist() != [r["path"] for r in rows]:
                raise SystemExit(f"{soft} was made for other photos: run scripts.teacher again")
            taught = {h: torch.from_numpy(said[h]) for h in labels}
        return cls(accepted, taught, torch.from_numpy(dataset.codes([r["product_id"] for r in rows])))


class Sampler:
    """Batches of photos, each with two of its views; chunks of a batch share a category."""

    def __init__(self, photo: NDArray[np.int64], category: NDArray[np.int64], batch: int, seed: int,
                 chunk: int = CHUNK) -> None:  # fmt: skip
        order = np.argsort(photo, kind="stable")
        ids, starts, counts = np.unique(photo[order], return_index=True, return_counts=True)
        self.order, self.ids, self.starts, self.counts = order, ids, starts, counts
        # Few photos still make sixteen steps an epoch; with fewer than a batch there was once no step at all.
        self.batch = min(batch, max(32, len(ids) // 16), len(ids))
        self.category, self.chunk = category, chunk
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.ids) // self.batch

    def epoch(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """View indices (first, second) of every batch."""
        shuffled = self.rng.permutation(len(self.ids))
        by_kind = shuffled[np.argsort(self.category[self.ids[shuffled]], kind="stable")]
        chunks = [by_kind[i : i + self.chunk] for i in range(0, len(by_kind), self.chunk)]
        mixed = np.concatenate([chunks[i] for i in self.rng.permutation(len(chunks))])
        out = []
        for i in range(len(self)):
            rows = mixed[i * self.batch : (i + 1) * self.batch]
            n = self.counts[rows]
            first = self.rng.integers(0, n)
            second = (first + self.rng.integers(1, np.maximum(2, n))) % n  # another view where there is one
            out.append((self.order[self.starts[rows] + first], self.order[self.starts[rows] + second]))
        return out


def fit(args: argparse.Namespace, x: Tensor, photo: NDArray[np.int64], rows: list[dataset.Row],
        labels: dict[str, list[str]], targets: Targets | None = None) -> tuple[Net, torch.nn.ModuleDict]:  # fmt: skip
    """Train on the views `x` of the photos `photo`; returns the prototypes too. Targets are the table's where not given."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    targets = targets or Targets.of(rows, labels, None)
    accepted, product = targets.accepted, targets.product
    net = Net(x.shape[1], args.hidden, {h: len(n) for h, n in labels.items()}, args.dropout)
    pulls = torch.nn.ModuleDict({h: Prototypes(len(labels[h]), args.proto_scale) for h, _ in PULLS})
    sampler = Sampler(photo, dataset.codes([r["category"] for r in rows]), args.batch, args.seed)
    steps = args.epochs * len(sampler)
    parameters = [*net.parameters(), *pulls.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=args.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps + 1, pct_start=0.15)
    began = time.monotonic()
    for epoch in range(args.epochs):
        bank, bank_product = None, None
        if args.bank and epoch >= args.epochs * 3 // 4:  # costly, and earlier stale within an epoch
            some = sampler.rng.permutation(len(sampler.starts))[: args.bank]
            seen = sampler.order[sampler.starts[some]]  # the first view of a photo: the clean one
            with torch.no_grad():
                bank = net.embed(x[torch.from_numpy(seen)])
            bank_product = product[torch.from_numpy(photo[seen])]
        total = {"heads": 0.0, "instance": 0.0, "pull": 0.0}
        for first, second in sampler.epoch():
            index = torch.from_numpy(np.concatenate([first, second]))
            which = torch.from_numpy(photo)[index]
            batch = x[index]
            with torch.autocast("cpu", torch.bfloat16):  # twice as fast; the losses stay in f32
                raw_logits, raw_z = net.logits(batch), net.embedding(batch)
            logits = {h: v.float() for h, v in raw_logits.items()}
            z = torch.nn.functional.normalize(raw_z.float(), dim=1)
            heads = sum(
                (HEAD_WEIGHTS.get(h, 1.0) * accepted_loss(v, accepted[h][which], args.smoothing) for h, v in logits.items()),
                torch.zeros(()),
            )
            taught = soft_losses(logits, targets.soft, which)
            n = len(first)
            instance = instance_loss(z[:n], z[n:], product[which[:n]], args.temperature, bank, bank_product)
            pull = sum((w * accepted_loss(pulls[h](z), accepted[h][which]) for h, w in PULLS), torch.zeros(()))
            loss = heads + args.instance_weight * instance + args.pull_weight * pull
            if targets.soft:
                loss = loss + args.soft_weight * taught
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            for name, value in (("heads", heads), ("instance", instance), ("pull", pull)):
                total[name] += value.item() / len(sampler)
        if epoch % 5 == 4 or epoch == args.epochs - 1:
            shown = " ".join(f"{k} {v:.3f}" for k, v in total.items())
            print(f"epoch {epoch + 1}: {shown}, {time.monotonic() - began:.0f} s", flush=True)
    return net.eval(), pulls


def soft_losses(logits: dict[str, Tensor], soft: dict[str, Tensor], which: Tensor) -> Tensor:
    """How far heads are from the teacher's word, weighted as the heads are."""
    parts = (HEAD_WEIGHTS.get(h, 1.0) * soft_loss(logits[h].float(), target[which]) for h, target in soft.items())
    return sum(parts, torch.zeros(()))


def priors(rows: list[dataset.Row], labels: dict[str, list[str]]) -> dict[str, NDArray[np.float32]]:
    """How often each label is right on training photos; alternatives share a photo, a label never seen counts half of one."""
    train = [r for r in rows if r["split"] == "train"]
    out = {}
    for head, accepted in dataset.targets(train, labels).items():
        known = accepted[accepted.sum(1) > 0]
        counts = (known / known.sum(1, keepdims=True)).sum(0) + 0.5
        out[head] = (counts / counts.sum()).astype(np.float32)
    return out


def adjust(net: Net, rows: list[dataset.Row], labels: dict[str, list[str]], tau: float) -> None:
    """Heads lean less toward frequent labels: `tau` times the log of its share is taken from each logit (logit adjustment,
    Menon et al. 2021). With 0.3 mean macro-F1 on validation went from 0.763 to 0.780 (on two halves by product 0.773 to
    0.790 and 0.750 to 0.768), accuracy stayed; 0.4 was best in macro-F1 on both, and costs accuracy."""
    with torch.no_grad():
        for head, share in priors(rows, labels).items():
            layer = net.heads[head]
            assert isinstance(layer, torch.nn.Linear)
            layer.bias.sub_(tau * torch.from_numpy(np.log(share)).to(layer.bias.device))


def predict(net: Net, x: Tensor) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    """Logits per head and embeddings as arrays."""
    with torch.no_grad():
        parts = [(net.logits(x[i : i + 4096]), net.embed(x[i : i + 4096])) for i in range(0, len(x), 4096)]
    logits = {h: np.concatenate([p[0][h].numpy() for p in parts]) for h in parts[0][0]}
    return logits, np.concatenate([p[1].numpy() for p in parts])


def last_layers(net: Net, folded: Callable[[Tensor], NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Weights by name, as the exporter reads them; `folded` turns a first layer's to standardised features."""
    arrays = {
        "hidden.weight": folded(net.hidden.weight),
        "hidden.bias": net.hidden.bias.detach().numpy(),
        "embedding.weight": folded(net.embedding.weight),
        "embedding.bias": net.embedding.bias.detach().numpy(),
    }
    for name, head in net.heads.items():
        assert isinstance(head, torch.nn.Linear)
        arrays[f"head.{name}.weight"] = head.weight.detach().numpy()
        arrays[f"head.{name}.bias"] = head.bias.detach().numpy()
    return arrays


def write(path: Path, arrays: dict[str, Any], labels: dict[str, list[str]], parts: list[str], notes: dict[str, object]) -> None:
    """`path` as npz, and what it holds beside it as JSON."""
    files.write_arrays(path, arrays)
    about = {"labels": labels, "parts": parts, **notes}
    files.write_text(path.with_suffix(".json"), json.dumps(about, indent=1, sort_keys=True) + "\n")


def save(path: Path, net: Net, axes: Axes, labels: dict[str, list[str]], parts: list[str], notes: dict[str, object]) -> None:
    """Weights with the PCA turn folded in: every first layer takes standardised features."""
    turn = axes.axes.T.astype(np.float64)

    def folded(weight: Tensor) -> NDArray[np.float32]:
        return (weight.detach().numpy().astype(np.float64) @ turn).astype(np.float32)

    write(path, {"mean": axes.mean, "std": axes.std, **last_layers(net, folded)}, labels, parts, notes)


def about(args: argparse.Namespace, recipe: str, figures: dict[str, Any], views: int) -> dict[str, object]:
    """What is told of a training run."""
    settings = {k: v for k, v in vars(args).items() if isinstance(v, (int, float))}
    return {"recipe": recipe, "figures": figures, "sources": args.sources, "seed": args.seed, "views": views,
            "taught": args.soft is not None, "settings": settings}  # fmt: skip


def main() -> None:
    """Load the cache, fit, measure on validation, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    parser.add_argument("--out", type=Path, default=options.home() / "trained.npz")
    parser.add_argument("--parts", default=",".join(features.USED), help="pooled features to use")
    parser.add_argument("--axes", type=int, default=1536)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--dropout", type=float, default=0.4)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-2)
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--proto-scale", type=float, default=16.0)
    parser.add_argument("--instance-weight", type=float, default=2.0)
    parser.add_argument("--pull-weight", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1, help="more do not help where others use the cores")
    parser.add_argument("--bank", type=int, default=4096, help="training photos that are negatives beside the batch")
    parser.add_argument("--evenness", type=float, default=0.6, help="how far axes are whitened")
    parser.add_argument("--views", type=int, default=99, help="augmented views to use at most")
    parser.add_argument("--tau", type=float, default=0.3, help="of the logit adjustment; 0: none")
    search.add_options(parser)
    parser.add_argument("--epochs-search", type=int, default=4, help="of each fit of the search")
    parser.add_argument("--soft", type=Path, help="the teacher's targets (scripts.teacher), a loss beside the labels")
    parser.add_argument("--soft-weight", type=float, default=1.0)
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    labels = dataset.label_sets(rows)
    parts = args.parts.split(",")
    columns = dataset.columns(parts)
    train_rows = [r if r["split"] == "train" else {**r, "path": ""} for r in rows]  # val photos match no path
    names = ["clean", *dataset.augmented_names(args.cache)[: args.views]]
    seen = dataset.views(args.cache, train_rows, names, columns)
    clean = dataset.views(args.cache, train_rows, ["clean"], columns)
    print(f"{len(seen)} views of {len(np.unique(seen.photo))} photos: {names}", flush=True)
    axes = Axes.fit(clean.x, args.axes, args.evenness)
    x = axes.turn(seen.x)
    if args.folds:
        fold = search.folds(rows, seen.photo, args.folds)
        clean_rows = dataset.clean_rows(args.cache, train_rows, names)

        def without(how: argparse.Namespace, k: int) -> float:
            own, held = np.flatnonzero(fold != k), clean_rows[fold[clean_rows] == k]
            quick = argparse.Namespace(**{**vars(how), "epochs": args.epochs_search, "bank": 0})
            net, _ = fit(quick, x[torch.from_numpy(own)], seen.photo[own], rows, labels)
            return search.score(predict(net, x[torch.from_numpy(held)])[0], seen.photo[held], rows, labels)

        vars(args).update(search.search("linear", args, without) or {})
    net, _ = fit(args, x, seen.photo, rows, labels, Targets.of(rows, labels, args.soft))
    adjust(net, rows, labels, args.tau)
    figures = measure.on_cache(args.cache, rows, labels, columns, lambda x: predict(net, axes.turn(x)))
    print(measure.lines(figures))
    notes = about(args, "linear", figures, len(seen)) | {"width": features.WIDTH}
    save(args.out, net, axes, labels, parts, notes)


if __name__ == "__main__":
    main()
