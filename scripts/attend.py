"""Attended features: means of layer 3 over the places that each head learns to look at.

Why: a mean over the whole photo blurs what is small: a collar, a cuff, the repeat of a print. Each of LOOKS maps weighs
the places of layer 3 by what stands there and by how far down it stands (never by how far across: a mirrored photo must
give the same values), as the pooling of multiple instances does (Ilse, Tomczak and Welling 2018). It costs 1.3 % of the
inference.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .backbone import ACT_RANGE, TAP_CHANNELS
from .graph import TAP_SIDES, Graph, Ranges
from .layer4 import quantize_rows

#: What is attended, its channels after the projection, and how many maps look at it.
TAP, CHANNELS, LOOKS = "l3", 256, 18
SIDE = TAP_SIDES[TAP]
WIDTH = CHANNELS * LOOKS
#: The part's name beside those of `features`.
PART = f"{TAP}.attended"


class Attend(nn.Module):
    """(N, 1024, H, W) to (N, WIDTH), channel by channel; the rows of `place` are stretched to other heights than SIDE."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(TAP_CHANNELS[TAP], CHANNELS, 1)
        self.look = nn.Conv2d(CHANNELS, LOOKS, 1)
        self.place = nn.Parameter(torch.zeros(1, LOOKS, SIDE, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Values from 0 to 3."""
        seen = self.project(x).clamp(*ACT_RANGE)
        rows: Tensor = self.place
        if x.shape[2] != SIDE:
            rows = nn.functional.interpolate(rows, (x.shape[2], 1), mode="bilinear", align_corners=False)
        share = (self.look(seen) + rows).float().flatten(2).softmax(2)
        return torch.einsum("ncp,nkp->nck", seen.float().flatten(2), share).flatten(1)


def load(trained: dict[str, NDArray[np.float32]]) -> Attend | None:
    """The module of trained weights, where they have one."""
    state = {n.removeprefix("attend."): torch.from_numpy(v) for n, v in trained.items() if n.startswith("attend.")}
    if not state:
        return None
    module = Attend()
    module.load_state_dict(state)
    return module


def state(module: Attend) -> dict[str, NDArray[np.float32]]:
    """Weights by name, as the exporter reads them."""
    return {f"attend.{name}": value.detach().float().cpu().numpy() for name, value in module.state_dict().items()}


def add(g: Graph, x: str, trained: dict[str, NDArray[np.float32]], ranges: Ranges) -> str:
    """The module as graph nodes: the name of (1, WIDTH)."""
    places = SIDE * SIDE

    def conv(x: str, name: str) -> str:
        weight = g.dequantized(f"attend.{name}.weight", *quantize_rows(trained[f"attend.{name}.weight"]))
        bias = g.const(f"attend.{name}.bias", trained[f"attend.{name}.bias"])
        return g.node("Conv", [x, weight, bias], f"attend.{name}", kernel_shape=[1, 1])

    def flat(x: str, channels: int, hint: str) -> str:
        return g.node("Reshape", [x, g.const("shape", np.array([1, channels, places], np.int64))], hint)

    seen = ranges.bound(g, conv(x, "project"), *ACT_RANGE)
    rows = g.const("attend.place", trained["attend.place"].astype(np.float32))
    looks = flat(g.node("Add", [conv(seen, "look"), rows], "attend.placed"), LOOKS, "attend.looks")
    share = g.node("Transpose", [g.node("Softmax", [looks], "attend.share", axis=2)], "attend.turned", perm=[0, 2, 1])
    means = g.node("MatMul", [flat(seen, CHANNELS, "attend.seen"), share], "attend.means")
    return g.node("Flatten", [means], "attend.pooled", axis=1)
