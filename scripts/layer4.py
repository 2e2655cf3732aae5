"""Layer 4 of the backbone as a torch module: what the partial recipe trains, from cached maps on.

Why only this: on a CPU the earlier layers cost five sixths of a step and are the same for every epoch,
so their output is cached once (`features --maps`) and the last three blocks learn from it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .backbone import ACT_RANGE, SUM_RANGE, Backbone, Block, Conv


def quantize_rows(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(rows, ...) f32 to int8 and a scale per row."""
    flat = np.abs(weight.reshape(len(weight), -1)).max(1)
    scale = np.maximum(flat, 1e-12) / 127
    shaped = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / shaped), -127, 127).astype(np.int8), scale.astype(np.float32)


class Scaled(nn.Module):
    """A convolution `scale[c] * (weight * x) + bias[c]`: weights start at +1 and -1, so one learning rate suits all."""

    scale: Tensor

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        assert conv.scale is not None
        self.weight = nn.Parameter(torch.from_numpy(conv.weight.astype(np.float32)))
        self.bias = nn.Parameter(torch.from_numpy(conv.bias.copy()))
        self.register_buffer("scale", torch.from_numpy(conv.scale.copy()))
        self.stride, self.pad = conv.stride, conv.pad

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, H, W) to (N, O, H', W')."""
        weight = self.weight * self.scale[:, None, None, None]
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.pad)

    def folded(self) -> Conv:
        """As the exporter takes it: int8 weights with a scale a channel."""
        weight = (self.weight * self.scale[:, None, None, None]).detach().float().cpu().numpy()
        return Conv(*quantize_rows(weight), self.bias.detach().float().cpu().numpy(), self.stride, self.pad)


class Affine(nn.Module):
    """`scale[c] * x + bias[c]`, the step before a block."""

    def __init__(self, scale: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.from_numpy(scale.copy()))
        self.bias = nn.Parameter(torch.from_numpy(bias.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out."""
        return x * self.scale[:, None, None] + self.bias[:, None, None]

    def numbers(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and bias as arrays."""
        return self.scale.detach().float().cpu().numpy(), self.bias.detach().float().cpu().numpy()


class Bottleneck(nn.Module):
    """One block; the first gets the map with its affine done, as it is cached."""

    def __init__(self, block: Block, first: bool) -> None:
        super().__init__()
        self.pre = None if first or block.pre is None else Affine(*block.pre)
        self.conv1, self.conv2, self.conv3 = Scaled(block.conv1), Scaled(block.conv2), Scaled(block.conv3)
        self.downsample = Scaled(block.downsample) if block.downsample is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2048, 7, 7)."""
        h = x if self.pre is None else self.pre(x).clamp(*ACT_RANGE)
        y = self.conv1(h).clamp(*ACT_RANGE)
        y = self.conv2(y).clamp(*ACT_RANGE)
        y = self.conv3(y).clamp(*SUM_RANGE)
        skip = x if self.downsample is None else self.downsample(h).clamp(*SUM_RANGE)
        return (y + skip).clamp(*SUM_RANGE)


class Layer4(nn.Module):
    """(N, 1024, 14, 14), values from 0 to 3, to the pooled features (N, 2048)."""

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Bottleneck(block, i == 0) for i, block in enumerate(net.layers[3]))

    def forward(self, x: Tensor) -> Tensor:
        """Mean over all places after the last ReLU."""
        for block in self.blocks:
            x = block(x)
        return x.relu().mean((2, 3))

    def into(self, net: Backbone) -> Backbone:
        """`net` with this layer in place of its own."""
        return Backbone(net.stem, [*net.layers[:3], folded(self.blocks, net.layers[3])])


def folded(blocks: nn.ModuleList, originals: list[Block]) -> list[Block]:
    """Trained blocks as the exporter takes them; the affine of a block that has none of its own stays."""
    out = []
    for own, theirs in zip(blocks, originals, strict=True):
        assert isinstance(own, Bottleneck)
        pre = theirs.pre if own.pre is None else own.pre.numbers()
        down = own.downsample.folded() if isinstance(own.downsample, Scaled) else None
        out.append(Block(pre, own.conv1.folded(), own.conv2.folded(), own.conv3.folded(), down))
    return out
