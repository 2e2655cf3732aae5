"""A run that is stopped at random points ends with the weights of one that was not, bit for bit."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scripts import loop
from scripts.interrupt import Interrupt
from scripts.net import Net, Prototypes
from scripts.train import PULLS, Sampler, Targets

N, WIDTH, EPOCHS = 60, 6, 3


class Tiny(loop.Trainee):
    """A layer in place of layer 4."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.net = Net(WIDTH, 5, {"category": 3, "base_color": 2, "gender": 2}, 0.4)
        self.pulls = nn.ModuleDict({h: Prototypes(3 if h == "category" else 2, 8.0) for h, _ in PULLS})


class After(Interrupt):
    """Asks for a stop after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def asked(self) -> bool:
        """One step was taken."""
        self.left -= 1
        return self.left <= 0


def settings(folder: Path, **changes: object) -> argparse.Namespace:
    base = {
        "checkpoint": folder / "tiny.ckpt", "checkpoint_minutes": 1e9, "seed": 0, "queue": 40, "decay": 0.9, "precision": "f32",
        "smoothing": 0.02, "temperature": 0.1, "soft_weight": 1.0, "instance_weight": 1.0, "pull_weight": 1.0,
    }  # fmt: skip
    return argparse.Namespace(**(base | changes))


def once(args: argparse.Namespace, interrupt: Interrupt) -> tuple[bool, Tiny]:
    """One process: everything anew, then on from the checkpoint."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(2 * N, WIDTH)).astype(np.float32))
    photo = np.arange(2 * N) % N

    def labels(k: int) -> torch.Tensor:
        return torch.eye(k)[torch.from_numpy(rng.integers(0, k, N))]

    accepted = {"category": labels(3), "base_color": labels(2), "gender": labels(2)}
    targets = Targets(accepted, {"category": labels(3)}, torch.arange(N))
    model = Tiny()

    def batches(epoch: int) -> loop.Batches:
        return Sampler(photo, np.zeros(N, np.int64), 10, args.seed * 1000 + epoch, chunk=2).epoch()

    def look(_: int, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return model.layer(x[torch.from_numpy(index)]), torch.from_numpy(photo[index])

    groups = [{"params": list(model.parameters()), "lr": 1e-2, "weight_decay": 1e-2}]
    return loop.run(model, groups, EPOCHS, batches, look, targets, args, interrupt), model


def test_stopped_at_five_points_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    done, whole = once(settings(tmp_path / "a"), Interrupt())
    assert done
    args, stops = settings(tmp_path / "b"), np.random.default_rng(5).integers(1, 5, 5)
    for steps in stops:
        done, _ = once(args, After(int(steps)))
        assert not done and args.checkpoint.exists()
    done, resumed = once(args, Interrupt())
    assert done
    for (name, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    once(settings(tmp_path), After(3))
    with pytest.raises(SystemExit, match="other settings"):
        once(settings(tmp_path, temperature=0.2), Interrupt())
