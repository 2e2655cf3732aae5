"""How a piece catches light: from coverage to a height field, from height to shading.

Flat clip-art would make masks and palettes look better than they are: real garments spread over many lightnesses.
So every piece is inflated to a rounded body, creased by folds, and lit by one key light with fill and a highlight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .canvas import SS, Stage, blur, extent, noise, resize
from .color import Plane

# Key light from the upper left and the front, the usual softbox place; unit length.
_KEY = np.array([-0.42, -0.55, 0.722])
_HALF = (_KEY + np.array([0, 0, 1])) / np.linalg.norm(_KEY + np.array([0, 0, 1]))


@dataclass(frozen=True)
class Fold:
    """A crease from (x0, y0) to (x1, y1) in head units, ``width`` across, ``height`` up (negative: a groove)."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float
    height: float


def inflate(cover: Plane, scale: float) -> Plane:
    """Height of a rounded body over ``cover``, head units, (H, W).

    Solves the Poisson equation with zero at the outline and takes the root: for a strip this is exactly the half
    circle, so sleeves and legs come out as cylinders. Coarse to fine; a distance transform was tried and leaves
    sharp ridges along the medial axis.
    """
    h, w = cover.shape
    u = np.zeros((4, 4), np.float32)
    for f in (16 * SS, 8 * SS, 4 * SS, 2 * SS):
        shape = (max(4, h // f), max(4, w // f))
        inside = resize(cover, shape, Image.Resampling.BOX) * np.float32(0.25)
        source = np.float32(2 * (f / SS / scale) ** 2)
        p = np.pad(resize(u, shape), 1)
        for _ in range(50 if f == 2 * SS else 120):
            p[1:-1, 1:-1] = inside * (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] + source)
        u = p[1:-1, 1:-1]
    full = resize(blur(u, 0.9), (h, w))
    return np.sqrt(np.maximum(full, 0) + 1e-4).astype(np.float32)


def creases(stage: Stage, folds: Sequence[Fold]) -> Plane:
    """Height of all folds, head units, (H, W)."""
    h, w = stage.shape
    f = 2 * SS
    x, y = (resize(g, (h // f, w // f)) for g in stage.grid())
    out = np.zeros_like(x)
    for c in folds:
        dx, dy = c.x1 - c.x0, c.y1 - c.y0
        length = max(float(np.hypot(dx, dy)), 1e-3)
        t = ((x - c.x0) * dx + (y - c.y0) * dy) / length**2
        # Cloth sags: the crease bows off its chord by a tenth of its length.
        off = ((x - c.x0) * dy - (y - c.y0) * dx) / length + 0.1 * length * np.sin(np.pi * np.clip(t, 0, 1))
        taper = np.clip(1.15 - np.abs(2 * t - 1) ** 2, 0, 1) * (np.abs(t - 0.5) < 0.7)
        out += c.height * np.exp(-0.5 * (off / c.width) ** 2) * taper
    return resize(blur(out, 1.0), (h, w))


def rumple(stage: Stage, rng: np.random.Generator, wide: float, tall: float, height: float) -> Plane:
    """Random soft rumples, grains of ``wide`` by ``tall`` head units, (H, W)."""
    k = stage.scale * SS
    return noise(rng, stage.shape, wide * k, tall * k) * np.float32(height)


@dataclass(frozen=True)
class Finish:
    """A material's answer to light: highlight strength and sharpness, and how much of the light is ambient."""

    gloss: float = 0.03
    power: float = 8.0
    ambient: float = 0.42


COTTON = Finish()
SATIN = Finish(0.10, 14.0, 0.36)
LEATHER = Finish(0.14, 22.0, 0.34)
METAL = Finish(0.55, 30.0, 0.30)
GLAZE = Finish(0.30, 60.0, 0.40)
SKIN = Finish(0.05, 14.0, 0.46)
HAIR_FINISH = Finish(0.10, 18.0, 0.34)


def light(stage: Stage, height: Plane, cover: Plane, finish: Finish, depth: float = 0.6) -> tuple[Plane, Plane]:
    """Shade (multiplies the color) and highlight (adds to it) of a height field, both (H, W), linear light."""
    whole = np.ones_like(height), np.zeros_like(height)
    box = extent(cover, 4)
    height, cover = height[box], cover[box]
    k = np.float32(stage.scale * SS)
    gy, gx = np.gradient(height * np.float32(depth) * k)
    norm = 1 / np.sqrt(gx * gx + gy * gy + 1)
    key = np.maximum((-gx * _KEY[0] - gy * _KEY[1] + _KEY[2]) * norm, 0)
    # Fill from the right keeps the far side from going black, as a reflector does.
    fill = np.maximum((-gx * 0.75 + 0.66) * norm, 0) * 0.18
    # Hollows see less of the room: the classic blurred-height stand-in for ambient occlusion.
    wide = 0.10 * stage.scale * SS
    hollow = np.maximum(blur(height * cover, wide) / np.maximum(blur(cover, wide), 0.05) - height, 0)
    ambient = finish.ambient * np.clip(1 - 5.0 * hollow, 0.35, 1)
    shade = ambient + (1 - finish.ambient) * key / _KEY[2] + fill
    spec = np.maximum((-gx * _HALF[0] - gy * _HALF[1] + _HALF[2]) * norm, 0) ** finish.power
    whole[0][box], whole[1][box] = shade, finish.gloss * spec
    return whole
