"""Writes the backbone as an ONNX graph, once in f32 and once in int8 with known ranges.

Why not torch.onnx: the graph must hold only plain operators, the weights must stay int8 with one
`DequantizeLinear` each (exact, and 4 times smaller), and the int8 form needs its ranges stated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .backbone import ACT_RANGE, SIZE, SUM_RANGE, Backbone, Conv

OPSET = 13
#: The ways a tap can be pooled.
POOLS = ("mean", "square", "bands")
#: Bands from top to bottom that `bands` averages apart, as one level of a spatial pyramid (Lazebnik et al. 2006). Whole
#: rows only: a mirrored photo must give the same values.
BANDS = {"l1": 4, "l2": 4, "l3": 2}
TAP_SIDES = {"l1": 56, "l2": 28, "l3": 14, "l4": 7}


class Graph:
    """A growing list of nodes and initialisers; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inits: list[onnx.TensorProto] = []
        self._names: dict[str, int] = {}
        self._consts: dict[tuple[str, bytes], str] = {}

    def name(self, hint: str) -> str:
        """A fresh name that starts with `hint`."""
        n = self._names.get(hint, 0)
        self._names[hint] = n + 1
        return f"{hint}_{n}" if n else hint

    def const(self, hint: str, value: NDArray[Any]) -> str:
        """An initialiser; equal small ones are shared."""
        key = (f"{value.dtype}{value.shape}", value.tobytes())
        if value.size <= 4096 and key in self._consts:
            return self._consts[key]
        name = self.name(hint)
        self.inits.append(numpy_helper.from_array(np.array(value, order="C"), name))
        self._consts[key] = name
        return name

    def node(self, op: str, inputs: list[str], hint: str | None = None, **attrs: Any) -> str:
        """A node with one output."""
        out = self.name(hint or op.lower())
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attrs))
        return out

    def dequantized(self, hint: str, weight: NDArray[np.int8], scale: NDArray[np.float32]) -> str:
        """An int8 initialiser behind `DequantizeLinear`, one scale for each index of axis 0."""
        zero = np.zeros(len(scale), np.int8)
        parts = [self.const(hint + ".q", weight), self.const(hint + ".scale", scale), self.const("zero", zero)]
        return self.node("DequantizeLinear", parts, hint, axis=0)

    def conv(self, x: str, c: Conv, hint: str) -> str:
        """A convolution with bias, without the clip."""
        if c.scale is None:
            weight = self.const(hint + ".weight", c.weight)
        else:
            assert c.weight.dtype == np.int8
            weight = self.dequantized(hint + ".weight", c.weight.astype(np.int8), c.scale)
        k = int(c.weight.shape[2])
        return self.node(
            "Conv", [x, weight, self.const(hint + ".bias", c.bias)], hint,
            kernel_shape=[k, k], strides=[c.stride] * 2, pads=[c.pad] * 4,
        )  # fmt: skip

    def depthwise(self, x: str, scale: NDArray[np.float32], bias: NDArray[np.float32], hint: str) -> str:
        """`scale[c] * x + bias[c]` as a 1x1 convolution of one channel each, which int8 engines run as one step."""
        c = len(scale)
        signs = (np.where(scale < 0, -127, 127)).astype(np.int8).reshape(c, 1, 1, 1)
        weight = self.dequantized(hint + ".weight", signs, (np.abs(scale) / 127).astype(np.float32))
        bias_name = self.const(hint + ".bias", bias)
        return self.node("Conv", [x, weight, bias_name], hint, kernel_shape=[1, 1], group=c)

    def per_channel(self, x: str, scale: NDArray[np.float32], bias: NDArray[np.float32], hint: str) -> str:
        """`scale[c] * x + bias[c]` over NCHW."""
        m = self.node("Mul", [x, self.const(hint + ".scale", scale.reshape(1, -1, 1, 1))], hint + ".mul")
        return self.node("Add", [m, self.const(hint + ".bias", bias.reshape(1, -1, 1, 1))], hint + ".add")

    def model(self, batch: int, outputs: Mapping[str, int | tuple[int, ...]], producer: str) -> onnx.ModelProto:
        """The finished, checked model: input `image` (batch, 3, 224, 224), outputs (batch, n) or (batch, *shape)."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])
        shapes = {n: d if isinstance(d, tuple) else (d,) for n, d in outputs.items()}
        outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *d]) for n, d in shapes.items()]
        graph = helper.make_graph(self.nodes, "vitrine", [image], outs, self.inits)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name=producer)
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


class Ranges(Protocol):
    """How a value is kept within its range, and an affine done: a clip in f32, a quantisation in int8."""

    def bound(self, g: Graph, x: str, lo: float, hi: float) -> str:
        """`x` limited to [lo, hi]."""
        ...

    def affine(self, g: Graph, x: str, scale: NDArray[np.float32], bias: NDArray[np.float32], hint: str) -> str:
        """`scale[c] * x + bias[c]`."""
        ...


class Clipped:
    """f32: `Clip` with constant bounds."""

    def bound(self, g: Graph, x: str, lo: float, hi: float) -> str:
        """`x` clipped to [lo, hi]."""
        bounds = [g.const("bound", np.array(v, np.float32)) for v in (lo, hi)]
        return g.node("Clip", [x, *bounds])

    def affine(self, g: Graph, x: str, scale: NDArray[np.float32], bias: NDArray[np.float32], hint: str) -> str:
        """`Mul` and `Add`."""
        return g.per_channel(x, scale, bias, hint)


class Quantized:
    """int8: QuantizeLinear to 8 bits over [lo, hi], which saturates, then DequantizeLinear."""

    def bound(self, g: Graph, x: str, lo: float, hi: float) -> str:
        """`x` rounded to 256 levels of [lo, hi]."""
        scale = (hi - lo) / 255
        zero = round(-lo / scale)
        args = [g.const("step", np.array(scale, np.float32)), g.const("level", np.array(zero, np.uint8))]
        return g.node("DequantizeLinear", [g.node("QuantizeLinear", [x, *args]), *args])

    def affine(self, g: Graph, x: str, scale: NDArray[np.float32], bias: NDArray[np.float32], hint: str) -> str:
        """A depthwise convolution, so that no step leaves 8 bits."""
        return g.depthwise(x, scale, bias, hint)


def add_backbone(g: Graph, net: Backbone, image: str, ranges: Ranges) -> dict[str, str]:
    """Add stem and layers; returns the taps: l1 to l3 (what enters the next layer) and l4 (after ReLU)."""

    def conv(x: str, c: Conv, hint: str, bounds: tuple[float, float]) -> str:
        return ranges.bound(g, g.conv(x, c, hint), *bounds)

    x = g.conv(image, net.stem, "stem")  # pooled before it is clipped: the same values, less to clip
    x = g.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = ranges.bound(g, x, *ACT_RANGE)
    taps: dict[str, str] = {}
    for i, layer in enumerate(net.layers, 1):
        for b, block in enumerate(layer):
            hint = f"layer{i}.{b}"
            h = x
            if block.pre is not None:
                h = ranges.bound(g, ranges.affine(g, x, *block.pre, hint + ".pre"), *ACT_RANGE)
            if b == 0 and i > 1:
                taps[f"l{i - 1}"] = h
            y = conv(h, block.conv1, hint + ".conv1", ACT_RANGE)
            y = conv(y, block.conv2, hint + ".conv2", ACT_RANGE)
            y = conv(y, block.conv3, hint + ".conv3", SUM_RANGE)
            skip = x if block.downsample is None else conv(h, block.downsample, hint + ".down", SUM_RANGE)
            x = ranges.bound(g, g.node("Add", [y, skip]), *SUM_RANGE)
    taps["l4"] = g.node("Relu", [x])
    return taps


def pool(g: Graph, taps: Mapping[str, str], tap: str, how: str) -> str:
    """(N, C, H, W) to (N, C): the mean over all places of x or x squared; `bands`: (N, C * BANDS), the mean of each band."""
    x = taps[tap]
    if how == "bands":
        side, count = TAP_SIDES[tap], BANDS[tap]
        rows = g.node("AveragePool", [x], "pool.rows", kernel_shape=[side // count, side], strides=[side // count, side])
        return g.node("Flatten", [rows], "pool.bands", axis=1)
    if how == "square":
        x = g.node("Mul", [x, x])
    return g.node("ReduceMean", [x], f"pool.{how}", axes=[2, 3], keepdims=0)
