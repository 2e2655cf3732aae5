"""The training loop that the partial and the full recipe share: losses, queue, mean of the weights, checkpoints.

Everything that the next step depends on is in the checkpoint, and the batches of an epoch are a function of the seed and
the epoch alone: a run that was killed ends with the same weights, bit for bit on one CPU and thread count.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import files, options
from .interrupt import CLOUDS, STOPPED, Interrupt
from .net import EMBEDDING_DIM, Net, accepted_loss, instance_loss
from .train import HEAD_WEIGHTS, PULLS, Targets, soft_losses

Batches = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
SHOWN_EVERY = 50


class Trainee(nn.Module):
    """What is trained: something that makes features, and `net` and `pulls` that read them."""

    net: Net
    pulls: nn.ModuleDict


def groups(model: Trainee, layers: nn.Module, lr: float, lr_heads: float) -> list[dict[str, Any]]:
    """What the optimizer takes: weights that start at +1 and -1, their biases and affines slower, heads."""
    named = list(layers.named_parameters())
    return [
        {"params": [p for n, p in named if n.endswith("weight")], "lr": lr, "weight_decay": 0.0},
        {"params": [p for n, p in named if not n.endswith("weight")], "lr": lr * 0.2, "weight_decay": 0.0},
        {"params": [*model.net.parameters(), *model.pulls.parameters()], "lr": lr_heads, "weight_decay": 1e-2},
    ]


def losses(model: Trainee, x: Tensor, which: Tensor, targets: Targets, queue: Queue,
           args: argparse.Namespace) -> dict[str, Tensor]:  # fmt: skip
    """Losses of a batch whose second half holds the second view of its first half's photos.

    From the logits on everything is small and stays on the CPU, whatever the network runs on.
    """
    with autocast(args, x.device):
        raw_logits, raw_z = model.net.logits(x), model.net.embedding(x)
    there = nn.functional.normalize(raw_z.float(), dim=1)
    z, raw_logits = there.cpu(), {h: v.float().cpu() for h, v in raw_logits.items()}
    heads = torch.stack([
        HEAD_WEIGHTS.get(h, 1.0) * accepted_loss(v, targets.accepted[h][which], args.smoothing)
        for h, v in raw_logits.items()
    ]).sum()  # fmt: skip
    taught = soft_losses(raw_logits, targets.soft, which)
    n = len(which) // 2
    instance = instance_loss(z[:n], z[n:], targets.product[which[:n]], args.temperature, *queue.held())
    queue.push(z.detach(), targets.product[which])
    pulls = [(w, h, model.pulls[h](there).cpu()) for h, w in PULLS if h in model.pulls]
    pull = sum((w * accepted_loss(v, targets.accepted[h][which]) for w, h, v in pulls), torch.zeros(()))
    return {"heads": heads, "taught": args.soft_weight * taught, "instance": args.instance_weight * instance,
            "pull": args.pull_weight * pull}  # fmt: skip


class Queue:
    """The last embeddings and their products: negatives beside the batch, hardly older than a few steps."""

    def __init__(self, size: int) -> None:
        self.z = torch.zeros(0, EMBEDDING_DIM)
        self.product = torch.zeros(0, dtype=torch.int64)
        self.size = size

    def held(self) -> tuple[Tensor | None, Tensor | None]:
        """Embeddings and products, or nothing yet."""
        return (self.z, self.product) if len(self.z) else (None, None)

    def push(self, z: Tensor, product: Tensor) -> None:
        """The newest push out the oldest."""
        self.z = torch.cat([z, self.z.to(z.device)])[: self.size]
        self.product = torch.cat([product, self.product.to(product.device)])[: self.size]


class Mean:
    """The exponential mean of a module's parameters, warmed up so that the start does not linger."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values = {k: v.detach().clone() for k, v in module.named_parameters()}

    def update(self, module: nn.Module) -> None:
        """Move toward the parameters as they are."""
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for k, v in module.named_parameters():
                self.values[k].lerp_(v, 1 - keep)

    def load_into(self, module: nn.Module) -> None:
        """Put the mean in place of the parameters."""
        with torch.no_grad():
            for k, v in module.named_parameters():
                v.copy_(self.values[k])


def autocast(args: argparse.Namespace, device: torch.device) -> torch.autocast:
    """bf16 where it is faster and asked for (`--precision bf16`), else f32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")


def add_options(parser: argparse.ArgumentParser, recipe: str) -> None:
    """What both recipes take."""
    parser.add_argument("--checkpoint", type=Path, default=options.home() / f"{recipe}.ckpt")
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0)
    parser.add_argument("--cloud", choices=CLOUDS, default="none", help="whose notice of the machine's end is polled")
    parser.add_argument("--soft", type=Path, help="the teacher's targets (scripts.teacher), a loss beside the labels")
    parser.add_argument("--soft-weight", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=96, help="photos a step, two views each")
    parser.add_argument("--chunk", type=int, default=16, help="photos of one kind in a row")
    parser.add_argument("--lr-heads", type=float, default=5e-4)
    parser.add_argument("--decay", type=float, default=0.998, help="of the exponential mean of the weights, which is kept")
    parser.add_argument("--queue", type=int, default=8192, help="last embeddings that are negatives beside the batch")
    parser.add_argument("--dropout", type=float, default=0.4)
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--instance-weight", type=float, default=2.0)
    parser.add_argument("--pull-weight", type=float, default=2.0)
    parser.add_argument("--tau", type=float, default=0.3, help="of the logit adjustment; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16", help="of what is trained")


def stopped(args: argparse.Namespace, interrupt: Interrupt) -> SystemExit:
    """How a run ends that was asked to stop: come again."""
    print(f"stopped ({interrupt.reason}); {args.checkpoint} goes on", flush=True)
    return SystemExit(STOPPED)


def run(model: Trainee, groups: list[dict[str, Any]], epochs: int, batches: Callable[[int], Batches],
        look: Callable[[int, NDArray[np.int64]], tuple[Tensor, Tensor]], targets: Targets, args: argparse.Namespace,
        interrupt: Interrupt) -> bool:  # fmt: skip
    """Train from the checkpoint where there is one; true when it is through, false when it was asked to stop.

    `batches(epoch)` gives (first, second) views of each batch; `look(epoch, views)` what heads and embedding read of
    them, and the photo of each.
    """
    optimizer = torch.optim.AdamW(groups)
    per_epoch = len(batches(0))
    total = epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (0.1 * total)) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
    )
    queue, mean, step = Queue(args.queue), Mean(model, args.decay), 0
    torch.manual_seed(args.seed)
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True, map_location="cpu")
        if state.get("settings", options.fingerprint(args)) != options.fingerprint(args):
            raise SystemExit(f"{args.checkpoint} was made with other settings: remove it to start afresh")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        mean.values = {k: v.to(mean.values[k].device) for k, v in state["mean"].items()}
        mean.steps, step = state["mean_steps"], state["step"]
        queue.z, queue.product = state["queue_z"], state["queue_product"]
        torch.set_rng_state(state["rng"])
        print(f"resumed at step {step} of {total}", flush=True)

    def save() -> None:
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            "mean": mean.values, "mean_steps": mean.steps, "step": step, "queue_z": queue.z, "queue_product": queue.product,
            "rng": torch.get_rng_state(), "settings": options.fingerprint(args),
        }  # fmt: skip
        with files.replacing(args.checkpoint) as staged:
            torch.save(state, staged)

    began, saved = time.monotonic(), time.monotonic()
    shown = dict.fromkeys(("heads", "taught", "instance", "pull"), 0.0)
    while step < total:
        epoch, at = divmod(step, per_epoch)
        for first, second in batches(epoch)[at:]:
            x, which = look(epoch, np.concatenate([first, second]))
            parts = losses(model, x, which, targets, queue, args)
            optimizer.zero_grad()
            torch.stack(list(parts.values())).sum().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            mean.update(model)
            step += 1
            for name, value in parts.items():
                shown[name] += value.item() / SHOWN_EVERY
            if step % SHOWN_EVERY == 0:
                text = " ".join(f"{k} {v:.3f}" for k, v in shown.items())
                print(f"step {step} of {total}: {text}, {time.monotonic() - began:.0f} s", flush=True)
                shown = dict.fromkeys(shown, 0.0)
            stop = interrupt.asked
            if stop or time.monotonic() - saved > 60 * args.checkpoint_minutes:
                save()
                saved = time.monotonic()
            if stop:
                return False
    save()
    mean.load_into(model)
    return True
