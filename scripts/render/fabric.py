"""Patterns and weave: which dye each point of the cloth carries.

Patterns are drawn in cloth coordinates that the folds pull about, so that stripes bend as they do in photos; each
returns soft weights per dye (sum 1), whose sums are the color shares of the truth.
"""

from __future__ import annotations

import numpy as np

from .canvas import SS, Stage, noise
from .color import Plane

PATTERNS = ("solid", "striped", "checked", "dotted", "floral", "printed")


def _band(v: Plane, period: float, share: float, soft: float) -> Plane:
    """1 inside bands that fill ``share`` of each ``period``, with an edge ``soft`` wide."""
    d = np.abs((v / period) % 1.0 - 0.5) * period
    return np.clip((share * period / 2 - d) / soft + 0.5, 0, 1)


def _hash(i: Plane, j: Plane, k: int) -> Plane:
    """Repeatable 0..1 value of a lattice cell."""
    h = np.sin(i * 127.1 + j * 311.7 + k * 74.7) * 43758.5453
    return (h - np.floor(h)).astype(np.float32)


def _checked(u: Plane, v: Plane, period: float, soft: float, n: int) -> list[Plane]:
    a, b = _band(u, period, 0.5, soft), _band(v, period, 0.5, soft)
    # Gingham: where both bands cross the dye is full, where one runs it is woven half and half.
    first = a * b + 0.5 * (a * (1 - b) + b * (1 - a))
    if n < 3:
        return [1 - first, first]
    line = np.maximum(_band(u + period / 2, period * 2, 0.06, soft), _band(v + period / 2, period * 2, 0.06, soft))
    return [(1 - first) * (1 - line), first * (1 - line), line]


def _dotted(u: Plane, v: Plane, period: float, soft: float) -> list[Plane]:
    row = np.floor(v / period)
    x = ((u / period + 0.5 * (row % 2)) % 1 - 0.5) * period
    y = ((v / period) % 1 - 0.5) * period
    dot = np.clip((0.27 * period - np.hypot(x, y)) / soft + 0.5, 0, 1)
    return [1 - dot, dot]


def _floral(u: Plane, v: Plane, period: float, soft: float, n: int) -> list[Plane]:
    i, j = np.floor(u / period), np.floor(v / period)
    petals = np.zeros_like(u)
    heart = np.zeros_like(u)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            ci, cj = i + di, j + dj
            x = u - (ci + 0.5 + 0.5 * (_hash(ci, cj, 1) - 0.5)) * period
            y = v - (cj + 0.5 + 0.5 * (_hash(ci, cj, 2) - 0.5)) * period
            r, a = np.hypot(x, y), np.arctan2(y, x) + 6.28 * _hash(ci, cj, 3)
            size = period * (0.30 + 0.16 * _hash(ci, cj, 4))
            petals = np.maximum(petals, np.clip((size * (0.72 + 0.28 * np.cos(5 * a)) - r) / soft + 0.5, 0, 1))
            heart = np.maximum(heart, np.clip((size * 0.28 - r) / soft + 0.5, 0, 1))
    if n < 3:
        return [1 - petals, petals]
    return [1 - petals, petals * (1 - heart), petals * heart]


def _printed(u: Plane, v: Plane, soft: float, n: int, center: tuple[float, float]) -> list[Plane]:
    """One motif on the chest: a disc over three bars, the commonest kind of T-shirt print."""
    x, y = u - center[0], v - center[1]
    disc = np.clip((0.30 - np.hypot(x, y + 0.12)) / soft + 0.5, 0, 1)
    cut = _band(y, 0.12, 0.30, soft) * (y > -0.16)
    bars = np.zeros_like(u)
    for k in range(3):
        half = 0.36 - 0.08 * k
        inside = np.minimum(half - np.abs(x), 0.028 - np.abs(y - 0.30 - 0.11 * k))
        bars = np.maximum(bars, np.clip(inside / soft + 0.5, 0, 1))
    first = disc * (1 - cut)
    if n < 3:
        both = np.maximum(first, bars)
        return [1 - both, both]
    return [np.clip(1 - first - bars, 0, 1), first, bars]


def dye_weights(
    pattern: str, stage: Stage, height: Plane, n: int, angle: float, period: float, center: tuple[float, float]
) -> list[Plane]:
    """Weights (H, W) of ``n`` dyes; ``angle`` turns the cloth (radians), ``period`` is the repeat in head units."""
    x, y = stage.grid()
    if n < 2 or pattern == "solid":
        return [np.ones_like(x)] + [np.zeros_like(x)] * (n - 1)
    gy, gx = np.gradient(height * np.float32(stage.scale * SS))
    # A slope hides cloth: the pattern is pulled along it, at most by a third of the repeat.
    pull = np.float32(0.07 * period)
    x, y = x + pull * np.clip(gx, -2, 2), y + pull * np.clip(gy, -2, 2)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = x * c + y * s, y * c - x * s
    soft = 1.0 / (stage.scale * SS)
    if pattern == "striped":
        band = _band(v, period, 0.42, soft)
        if n < 3:
            weights = [1 - band, band]
        else:
            other = _band(v + period, 2 * period, 0.24, soft)
            weights = [1 - band, band * (1 - other), band * other]
    elif pattern == "checked":
        weights = _checked(u, v, period, soft, n)
    elif pattern == "dotted":
        weights = _dotted(u, v, period, soft)
    elif pattern == "floral":
        weights = _floral(u, v, period * 1.6, soft, n)
    elif pattern == "printed":
        weights = _printed(x, y, soft, n, center)
    else:
        raise ValueError(f"unknown pattern: expected one of {PATTERNS}, received {pattern!r}")
    return [w.astype(np.float32) for w in weights] + [np.zeros_like(x)] * (n - len(weights))


def weave(kind: str, stage: Stage, rng: np.random.Generator) -> Plane:
    """Fine modulation of the shade around 1, (H, W): what tells cloth from plastic."""
    shape = stage.shape
    fine = noise(rng, shape, 2.0, 2.0)
    if kind == "denim":
        x, y = stage.grid()
        twill = np.sin((x + y) * np.float32(stage.scale * 2.2))
        return (1 + 0.045 * fine + 0.03 * twill + 0.04 * noise(rng, shape, 5, 60)).astype(np.float32)
    if kind == "knit":
        x, y = stage.grid()
        rows = np.sin(y * np.float32(stage.scale * 1.5)) * 0.02
        return (1 + 0.03 * fine + rows).astype(np.float32)
    if kind == "leather":
        return (1 + 0.03 * noise(rng, shape, 6, 6) * fine).astype(np.float32)
    if kind == "smooth":
        return np.ones(shape, np.float32)
    return (1 + 0.018 * fine + 0.012 * noise(rng, shape, 3, 14)).astype(np.float32)
