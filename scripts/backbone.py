"""The frozen ResNet-50, unpacked from its 1-bit weights into folded convolutions.

Why: the published network (Xilinx ResNet50-PYNQ, w1a2_v1.0, BSD-3-Clause, notice in
LICENSE.resnet50-w1a2) has weights of +1 and -1, so every convolution with its batch norm is
exactly `scale[c] * (sign * x) + bias[c]`: signs as int8 and one scale a channel lose nothing.

The graph (`pre`): strides sit on the first 1x1 (v1); every block starts with its own affine and
clip(0, 3); the skip carries signed values; sums are clipped to (-8, 7); ReLU before the last pool.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

MEAN: tuple[float, float, float] = (0.485, 0.456, 0.406)
STD: tuple[float, float, float] = (0.229, 0.224, 0.225)
SIZE = 224
ACT_RANGE = (0.0, 3.0)
SUM_RANGE = (-8.0, 7.0)
#: (blocks, stride of the first block) of each of the four layers.
LAYERS = ((3, 1), (4, 2), (6, 2), (3, 2))
#: Channels of what can be pooled: block inputs after layers 1 to 3, ReLU after layer 4.
TAP_CHANNELS = {"l1": 256, "l2": 512, "l3": 1024, "l4": 2048}


@dataclass
class Conv:
    """A convolution with its batch norm folded in: `weight` (O, I, kH, kW) int8 or f32, times `scale` (O,)."""

    weight: NDArray[np.int8] | F32
    scale: F32 | None  # None: the weight is plain f32
    bias: F32
    stride: int
    pad: int


@dataclass
class Block:
    """One bottleneck: the affine before it (None where it is the identity), three convolutions, the projection."""

    pre: tuple[F32, F32] | None
    conv1: Conv
    conv2: Conv
    conv3: Conv
    downsample: Conv | None


@dataclass
class Backbone:
    """Stem and the four layers of blocks."""

    stem: Conv
    layers: list[list[Block]] = field(default_factory=list)


def load(path: Path) -> Backbone:
    """Unpack `resnet50_w1a2_packed.npz` into folded convolutions."""
    z = np.load(path)
    signs = _signs(z)

    def conv(name: str, stride: int, pad: int, offset: float) -> Conv:
        scale = (1.0 / z[name + ".s"].astype(np.float64)).astype(np.float32)
        bias = (0.5 - z[name + ".a"].astype(np.float64) / z[name + ".s"] - offset).astype(np.float32)
        flip = np.where(scale < 0, -1, 1).astype(np.int8)  # scales stay positive, signs take the minus
        return Conv(signs[name] * flip[:, None, None, None], np.abs(scale), bias, stride, pad)

    net = Backbone(_stem(z))
    for i, (blocks, first_stride) in enumerate(LAYERS, 1):
        layer = []
        for b in range(blocks):
            name = f"layer{i}.{b}"
            stride = first_stride if b == 0 else 1
            layer.append(
                Block(
                    pre=_pre(z, name),
                    conv1=conv(f"{name}.conv1", stride, 0, 0.0),
                    conv2=conv(f"{name}.conv2", 1, 1, 0.0),
                    conv3=conv(f"{name}.conv3", 1, 0, 8.0),
                    downsample=conv(f"{name}.downsample.0", stride, 0, 8.0) if b == 0 else None,
                )
            )
        net.layers.append(layer)
    return net


def _signs(z: np.lib.npyio.NpzFile) -> dict[str, NDArray[np.int8]]:
    bits = np.unpackbits(z["bits"], bitorder="little")
    out: dict[str, NDArray[np.int8]] = {}
    at = 0
    for name, shape in zip(z["names"], z["shapes"], strict=True):
        count = int(np.prod(shape))
        out[str(name)] = (bits[at : at + count].reshape(shape).astype(np.int8) * 2 - 1).astype(np.int8)
        at += count
    return out


def _stem(z: np.lib.npyio.NpzFile) -> Conv:
    """The 7x7 convolution: int8 on raw pixels in the source, here on (x/255 - mean) / std."""
    raw = z["conv1.weight"].astype(np.float64)
    mean, std, s = np.array(MEAN), np.array(STD), z["conv1.s"].astype(np.float64)
    weight = raw * (255 * std)[None, :, None, None] / s[:, None, None, None]
    offset = (raw * (255 * mean)[None, :, None, None]).sum((1, 2, 3))
    bias = 0.5 + (offset - z["conv1.a"]) / s
    return Conv(weight.astype(np.float32), None, bias.astype(np.float32), 2, 3)


def _pre(z: np.lib.npyio.NpzFile, name: str) -> tuple[F32, F32] | None:
    if name == "layer1.0":
        return None  # the stem is already clipped to (0, 3): the affine is the identity
    s, a = z[name + ".pre.s"].astype(np.float64), z[name + ".pre.a"].astype(np.float64)
    c = a - 8 - 0.5 * s
    return (1 / s).astype(np.float32), (-c / s).astype(np.float32)
