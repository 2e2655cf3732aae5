"""The full recipe: every layer trained from photos; for a GPU (it runs on a CPU too, some hundred times slower).

Starts from what the linear recipe trained (`--start trained.npz`), so that the first gradients mean something, and goes
from small pictures to large ones (progressive resolution: most of what is learnt is learnt cheaply). The pooled features
do not depend on the size of the picture. Checkpoints and stops are those of the partial recipe.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from . import augment, backbone, dataset, loop, measure, options, photos, search
from .backbone import ACT_RANGE, SUM_RANGE, Backbone, Conv
from .graph import BANDS
from .interrupt import Interrupt
from .layer4 import Affine, Bottleneck, folded
from .net import Net, Prototypes
from .train import PULLS, Sampler, Targets, about, adjust, last_layers, write


class Whole(nn.Module):
    """The backbone from pixels to taps, as `graph.add_backbone` has it."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, net.stem.weight.shape[0], int(net.stem.weight.shape[2]), net.stem.stride, net.stem.pad)
        with torch.no_grad():
            self.stem.weight.copy_(torch.from_numpy(net.stem.weight.astype(np.float32)))
            assert self.stem.bias is not None
            self.stem.bias.copy_(torch.from_numpy(net.stem.bias))
        self.layers = nn.ModuleList(
            nn.ModuleList(Bottleneck(block, b == 0) for b, block in enumerate(layer)) for layer in net.layers
        )
        entries = [layer[0].pre for layer in net.layers[1:]]
        self.entries = nn.ModuleList(Affine(*pre) for pre in entries if pre is not None)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) to the taps l1 to l4."""
        x = nn.functional.max_pool2d(self.stem(x), 3, 2, 1).clamp(*ACT_RANGE)
        taps = {}
        for i, layer in enumerate(self.layers, 1):
            if i > 1:
                x = self.entries[i - 2](x).clamp(*ACT_RANGE)
                taps[f"l{i - 1}"] = x
            assert isinstance(layer, nn.ModuleList)
            for block in layer:
                x = block(x)
        return taps | {"l4": x.relu()}

    def into(self, net: Backbone) -> Backbone:
        """As the exporter takes it."""
        assert self.stem.bias is not None
        weight, bias = (v.detach().float().cpu().numpy() for v in (self.stem.weight, self.stem.bias))
        pairs = zip(self.layers, net.layers, strict=True)
        layers = [folded(own, theirs) for own, theirs in pairs if isinstance(own, nn.ModuleList)]
        for layer, entry in zip(layers[1:], self.entries, strict=True):
            assert isinstance(entry, Affine)
            layer[0].pre = entry.numbers()
        assert SUM_RANGE[0] < 0  # blocks clip their sums themselves
        return Backbone(Conv(weight, None, bias, net.stem.stride, net.stem.pad), layers)


def pooled(taps: dict[str, Tensor], parts: list[str]) -> Tensor:
    """(N, features) in the order of `parts`, as `graph.pool` has them."""
    out = []
    for part in parts:
        tap, how = part.split(".")
        x = taps[tap].float()
        if how == "bands":
            out.append(nn.functional.adaptive_avg_pool2d(x, (BANDS[tap], 1)).flatten(1))
        else:
            out.append((x.square() if how == "square" else x).mean((2, 3)))
    return torch.cat(out, 1)


class Model(loop.Trainee):
    """Backbone, heads and embedding."""

    mean: Tensor
    std: Tensor

    def __init__(self, whole: Whole, net: Net, pulls: nn.ModuleDict, parts: list[str], mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.whole, self.net, self.pulls, self.parts = whole, net, pulls, parts
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def inputs(self, x: Tensor) -> Tensor:
        """Photos (N, 3, H, W) to what heads and embedding read."""
        return (pooled(self.whole(x), self.parts) - self.mean) / self.std


def start(weights: Path, trained: Path, dropout: float) -> tuple[Model, dict[str, list[str]]]:
    """The model as the linear recipe left it, and the labels of its heads."""
    held, notes = dict(np.load(trained)), json.loads(trained.with_suffix(".json").read_text())
    labels = {h: n for h, n in notes["labels"].items() if n}
    net = Net(len(held["mean"]), len(held["hidden.bias"]), {h: len(n) for h, n in labels.items()}, dropout)
    with torch.no_grad():
        heads = ((f"head.{h}", net.heads[h]) for h in labels)
        for name, module in (("hidden", net.hidden), ("embedding", net.embedding), *heads):
            assert isinstance(module, nn.Linear)
            module.weight.copy_(torch.from_numpy(held[f"{name}.weight"]))
            module.bias.copy_(torch.from_numpy(held[f"{name}.bias"]))
    pulls = nn.ModuleDict({h: Prototypes(len(labels[h]), 16.0) for h, _ in PULLS if h in labels})
    mean, std = (torch.from_numpy(held[k].astype(np.float32)) for k in ("mean", "std"))
    return Model(Whole(backbone.load(weights)), net, pulls, notes["parts"], mean, std), labels


def pixels(rows: list[dataset.Row], index: NDArray[np.int64], size: int, seed: int, epoch: int) -> Tensor:
    """Views of photos (n, 3, size, size); a photo that comes twice gets two views."""
    out = np.empty((len(index), size, size, 3), np.uint8)
    seen: dict[int, int] = {}
    for k, i in enumerate(index.tolist()):
        seen[i] = seen.get(i, -1) + 1
        rng = augment.rng_for(seed, rows[i]["path"], f"epoch{epoch}.{seen[i]}")
        image = augment.training_view(photos.load(Path(rows[i]["file"])), rng)
        out[k] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(photos.normalize(out))


def sizes_of(text: str) -> list[int]:
    """`128:2,224:3` to the size of each epoch."""
    try:
        return [int(size) for part in text.split(",") for size, epochs in [part.split(":")] for _ in range(int(epochs))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected SIZE:EPOCHS,..., received {text!r}") from None


def train(model: Model, photo: NDArray[np.int64], rows: list[dataset.Row], labels: dict[str, list[str]],
          args: argparse.Namespace, interrupt: Interrupt) -> bool:  # fmt: skip
    """Train on the photos `photo`; true when it is through."""
    device = torch.device(args.device)
    category = dataset.codes([r["category"] for r in rows])
    groups = loop.groups(model, model.whole, args.lr, args.lr_heads)

    def batches(epoch: int) -> loop.Batches:
        sampler = Sampler(np.arange(len(photo)), category[photo], args.batch, args.seed * 1000 + epoch, chunk=args.chunk)
        return [(photo[a], photo[b]) for a, b in sampler.epoch()]

    def look(epoch: int, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        x = pixels(rows, index, args.sizes[epoch], args.seed, epoch).to(device).contiguous(memory_format=torch.channels_last)
        with loop.autocast(args, device):
            features = model.inputs(x)
        return features.float(), torch.from_numpy(index)

    targets = Targets.of(rows, labels, args.soft)
    return loop.run(model, groups, len(args.sizes), batches, look, targets, args, interrupt)


def answers(model: Model, rows: list[dataset.Row], which: list[int], args: argparse.Namespace) -> measure.Answers:
    """What the model says of photos as they are, at full size."""
    device, parts = torch.device(args.device), []
    model.eval()
    with torch.no_grad():
        for i in range(0, len(which), 32):
            part = which[i : i + 32]
            x = np.stack([photos.stretch(photos.load(Path(rows[k]["file"]))) for k in part])
            features = model.inputs(torch.from_numpy(photos.normalize(x)).to(device))
            logits = {h: v.float().cpu().numpy() for h, v in model.net.logits(features).items()}
            parts.append((logits, model.net.embed(features).float().cpu().numpy()))
    heads = {h: np.concatenate([p[0][h] for p in parts]) for h in parts[0][0]}
    return measure.Answers(np.array(which, np.int64), heads, np.concatenate([p[1] for p in parts]))


def without(photo: NDArray[np.int64], rows: list[dataset.Row], interrupt: Interrupt) -> search.Fit:
    """How the search fits: a short run on small pictures, judged on photos of the fold held back. All fits start from heads
    that saw every fold, so the scores flatter; they flatter every setting alike."""

    def one(how: argparse.Namespace, k: int) -> float | None:
        fold = search.folds(rows, photo, how.folds)
        quick = argparse.Namespace(**{**vars(how), "sizes": how.sizes_search, "checkpoint": search.checkpoint(how)})
        model, labels = start(how.weights, how.start, how.dropout)
        model = model.to(how.device).train()
        if not train(model, photo[fold != k], rows, labels, quick, interrupt):
            return None
        quick.checkpoint.unlink()
        said = answers(model, rows, photo[fold == k].tolist(), how)
        return search.score(said.logits, said.photo, rows, labels)

    return one


def main() -> None:
    """Train, measure on validation photos, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    loop.add_options(parser, "full")
    parser.add_argument("--start", type=Path, default=options.home() / "trained.npz", help="what the linear recipe wrote")
    parser.add_argument("--out", type=Path, default=options.home() / "full.npz")
    parser.add_argument("--sizes", type=sizes_of, default="128:4,176:4,224:6", help="SIZE:EPOCHS, small pictures first")
    search.add_options(parser)
    parser.add_argument("--sizes-search", type=sizes_of, default="128:1", help="of each fit of the search")
    parser.add_argument("--lr", type=float, default=3e-4, help="of weights that start at +1 and -1")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = options.parse(parser)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rows = dataset.read(args.table, args.sources)
    photo = np.array([i for i, r in enumerate(rows) if r["split"] == "train"], np.int64)
    with Interrupt(args.cloud) as interrupt:
        if args.folds:
            change = search.search("full", args, without(photo, rows, interrupt))
            if change is None:
                raise loop.stopped(args, interrupt)
            vars(args).update(change)
        model, labels = start(args.weights, args.start, args.dropout)
        model = model.to(args.device).train()
        if not train(model, photo, rows, labels, args, interrupt):
            raise loop.stopped(args, interrupt)
    adjust(model.net, rows, labels, args.tau)
    val = [i for i, r in enumerate(rows) if r["split"] == "val"]
    figures = measure.figures(rows, labels, answers(model, rows, val, args), {})
    print(measure.lines(figures))
    save(args, model, labels, about(args, "full", figures, len(rows)))


def save(args: argparse.Namespace, model: Model, labels: dict[str, list[str]], notes: dict[str, object]) -> None:
    """Weights by name, as the exporter reads them."""
    arrays: dict[str, Any] = {
        "mean": model.mean.cpu().numpy(), "std": model.std.cpu().numpy(),
        **last_layers(model.net.cpu(), lambda w: w.detach().float().cpu().numpy()),
        **{f"whole.{name}": value.detach().float().cpu().numpy() for name, value in model.whole.state_dict().items()},
    }  # fmt: skip
    write(args.out, arrays, labels, model.parts, notes)


if __name__ == "__main__":
    main()
