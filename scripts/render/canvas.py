"""The drawing surface: outlines in head units become anti-aliased coverage, plus the filters all pieces share.

Everything is drawn at ``SS`` times the final size and outlines once more at twice that, then averaged: coverage is
the true share of a pixel that lies inside, which is what blending in linear light needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .color import Plane

SS = 2  # working pixels per final pixel, each way
_EDGE = 2  # outline samples per working pixel, each way

Point = tuple[float, float]


@dataclass(frozen=True)
class Stage:
    """A picture of ``width`` x ``height`` final pixels and where head units fall in it.

    ``scale`` is final pixels per head unit; ``x0``, ``y0`` the final pixel of the unit origin.
    """

    width: int
    height: int
    scale: float
    x0: float
    y0: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a working plane."""
        return self.height * SS, self.width * SS

    def px(self, points: Sequence[Point], k: int) -> list[Point]:
        """Head units to pixels of a grid ``k`` times the final one."""
        return [((self.x0 + x * self.scale) * k, (self.y0 + y * self.scale) * k) for x, y in points]

    def grid(self) -> tuple[Plane, Plane]:
        """Head-unit x and y of each working pixel, (H, W)."""
        h, w = self.shape
        x = ((np.arange(w, dtype=np.float32) + 0.5) / SS - self.x0) / self.scale
        y = ((np.arange(h, dtype=np.float32) + 0.5) / SS - self.y0) / self.scale
        return np.meshgrid(x, y)

    def _draw(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        h, w = self.shape
        image = Image.new("L", (w * _EDGE, h * _EDGE))
        return image, ImageDraw.Draw(image)

    def fill(self, *outlines: Sequence[Point]) -> Plane:
        """Coverage 0..1 of the union of closed outlines, (H, W)."""
        image, draw = self._draw()
        for outline in outlines:
            draw.polygon(self.px(outline, SS * _EDGE), fill=255)
        return _plane(image.reduce(_EDGE))

    def stroke(self, points: Sequence[Point], width: float) -> Plane:
        """Coverage 0..1 of a line of ``width`` head units with round ends, (H, W)."""
        image, draw = self._draw()
        k = SS * _EDGE
        px = self.px(points, k)
        wide = max(1, round(width * self.scale * k))
        draw.line(px, fill=255, width=wide, joint="curve")
        for x, y in (px[0], px[-1]):
            draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), fill=255)
        return _plane(image.reduce(_EDGE))


def _plane(image: Image.Image) -> Plane:
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def smooth(points: Sequence[Point], closed: bool = True, steps: int = 10) -> list[Point]:
    """Catmull-Rom curve through ``points``; a point given twice in a row stays a corner."""
    p = np.array(points, dtype=np.float64)
    n = len(p)
    at = (lambda i: p[i % n]) if closed else (lambda i: p[min(max(i, 0), n - 1)])
    out: list[Point] = []
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    for i in range(n if closed else n - 1):
        a, b, c, d = at(i - 1), at(i), at(i + 1), at(i + 2)
        if np.array_equal(b, c):
            out.append((float(b[0]), float(b[1])))
            continue
        q = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        out.extend((float(x), float(y)) for x, y in q)
    if not closed:
        out.append((float(p[-1][0]), float(p[-1][1])))
    return out


def mirrored(right: Sequence[Point]) -> list[Point]:
    """A right half, top to bottom, and its mirror image as one closed outline."""
    return list(right) + [(-x, y) for x, y in reversed(right)]


def corner(x: float, y: float) -> list[Point]:
    """A point that :func:`smooth` keeps sharp."""
    return [(x, y), (x, y)]


def flip(points: Sequence[Point]) -> list[Point]:
    """The mirror image about the axis of the figure."""
    return [(-x, y) for x, y in points]


def limb(axis: Sequence[Point], radii: Sequence[float]) -> list[Point]:
    """Outline of a limb: a curve through ``axis`` with half width ``radii`` at its points, ends square."""
    line = np.array(smooth(axis, closed=False, steps=8))
    along = np.linspace(0, len(axis) - 1, len(line))
    r = np.interp(along, np.arange(len(axis)), np.array(radii))[:, None]
    d = np.gradient(line, axis=0)
    d /= np.maximum(np.hypot(d[:, 0], d[:, 1]), 1e-9)[:, None]
    normal = np.stack([-d[:, 1], d[:, 0]], axis=1)
    left, right = line + normal * r, line - normal * r
    return [(float(x), float(y)) for x, y in np.concatenate([left, right[::-1]])]


def ellipse(cx: float, cy: float, rx: float, ry: float, n: int = 72) -> list[Point]:
    """Outline of an ellipse."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return [(cx + rx * float(np.cos(t)), cy + ry * float(np.sin(t))) for t in a]


def resize(plane: NDArray[np.floating], shape: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC) -> Plane:
    """A plane at another size, (rows, columns)."""
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), how), dtype=np.float32)


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur by repeated three-tap means; wide blurs run on a smaller copy, where nothing they keep is lost."""
    if sigma < 0.3:
        return plane
    h, w = plane.shape
    f = max(1, int(sigma / 1.4))
    out = plane if f == 1 else resize(plane, (max(2, h // f), max(2, w // f)), Image.Resampling.BOX)
    # A three-tap mean has variance 2/3.
    for _ in range(max(1, round(1.5 * (sigma / f) ** 2))):
        p = np.pad(out, ((1, 1), (0, 0)), mode="edge")
        out = (p[:-2] + p[1:-1] + p[2:]) * np.float32(1 / 3)
        p = np.pad(out, ((0, 0), (1, 1)), mode="edge")
        out = (p[:, :-2] + p[:, 1:-1] + p[:, 2:]) * np.float32(1 / 3)
    return out if f == 1 else resize(out, (h, w))


def extent(cover: Plane, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold all of ``cover``, widened by ``margin``: work outside them would change nothing."""
    rows, cols = np.flatnonzero(cover.max(axis=1)), np.flatnonzero(cover.max(axis=0))
    if not rows.size:
        return slice(0, 2), slice(0, 2)
    h, w = cover.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(h, int(rows[-1]) + 1 + margin)),
        slice(max(0, int(cols[0]) - margin), min(w, int(cols[-1]) + 1 + margin)),
    )


def noise(rng: np.random.Generator, shape: tuple[int, int], cell_x: float, cell_y: float) -> Plane:
    """Smooth noise of unit variance whose grains are about ``cell_x`` by ``cell_y`` pixels, (H, W)."""
    h, w = shape
    ny, nx = max(2, int(np.ceil(h / cell_y))) + 1, max(2, int(np.ceil(w / cell_x))) + 1
    out = resize(rng.standard_normal((ny, nx)), shape)
    return out / np.float32(max(float(out.std()), 1e-6))
