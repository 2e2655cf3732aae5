"""Pieces: what a picture is layered from, back to front, and the bench that cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .canvas import Point, Stage, blur
from .color import Plane, linear_of
from .fabric import dye_weights, weave
from .relief import COTTON, Finish, Fold, creases, inflate, light

# Classes of the mask, also its palette indices.
BACKGROUND, PRODUCT, SKIN, HAIR, OTHER = range(5)
CLASSES = ("background", "product", "skin", "hair", "other clothing")


@dataclass
class Piece:
    """One layer: class, coverage (H, W), weight of each dye or one fixed tint, shade and highlight (H, W)."""

    kind: int
    cover: Plane
    shade: Plane
    spec: Plane
    weights: list[Plane] | None = None
    tint: Plane | None = None
    reach: float = 0.05  # head units its contact shadow reaches over the layers below


@dataclass
class Bench:
    """Cuts pieces for one picture. ``dyes`` are linear RGB of the product's colors, the main one first."""

    stage: Stage
    rng: np.random.Generator
    dyes: list[Plane]
    pattern: str = "solid"
    period: float = 0.3
    cloth: str = "plain"
    finish: Finish = COTTON
    print_at: tuple[float, float] = (0.0, 2.55)
    pieces: list[Piece] = field(default_factory=list)

    def cut(
        self,
        kind: int,
        outlines: Sequence[Sequence[Point]] | Plane,
        *,
        dye: int | None = None,
        tint: str | Plane | None = None,
        folds: Sequence[Fold] = (),
        extra: Plane | None = None,
        angle: float = 0.0,
        depth: float = 0.6,
        finish: Finish | None = None,
        cloth: str | None = None,
        dim: float = 1.0,
        reach: float = 0.05,
        flat: bool = False,
    ) -> Piece:
        """Adds a piece on top. Without ``dye`` or ``tint`` it carries the product's pattern."""
        s = self.stage
        cover = outlines if isinstance(outlines, np.ndarray) else s.fill(*outlines)
        height = np.full(s.shape, 0.05, np.float32) if flat else inflate(cover, s.scale)
        if folds:
            height = height + creases(s, folds)
        if extra is not None:
            height = height + extra
        shade, spec = light(s, height, cover, finish or self.finish, depth)
        shade *= weave(cloth or self.cloth, s, self.rng) * np.float32(dim)
        weights: list[Plane] | None = None
        color: Plane | None = None
        if tint is not None:
            color = linear_of(tint) if isinstance(tint, str) else tint
        elif dye is not None or self.pattern == "solid":
            weights = [np.broadcast_to(np.float32(k == (dye or 0)), s.shape) for k in range(len(self.dyes))]
        else:
            weights = dye_weights(self.pattern, s, height, len(self.dyes), angle, self.period, self.print_at)
        self.pieces.append(Piece(kind, cover, shade, spec, weights, color, reach))
        return self.pieces[-1]

    def seam(self, points: Sequence[Point], width: float = 0.012, dark: float = 0.35) -> None:
        """Darkens a line on the topmost piece, with the lit lip that a sewn edge has beside it."""
        line = self.stage.stroke(points, width)
        soft = blur(line, 1.6)
        lip = np.roll(soft, (2, 2), axis=(0, 1))
        top = self.pieces[-1]
        top.shade = top.shade * (1 - dark * np.maximum(line, 0.6 * soft) + 0.10 * lip)

    def button(self, x: float, y: float, r: float = 0.028) -> None:
        """A small round button on the topmost piece: a dark rim and a lit face."""
        a = np.linspace(0, 2 * np.pi, 20)
        ring = [(x + r * float(np.cos(t)), y + r * float(np.sin(t))) for t in a]
        face = self.stage.fill(ring)
        rim = self.stage.stroke(ring, r * 0.5)
        top = self.pieces[-1]
        top.shade = top.shade * (1 - 0.45 * rim) * (1 + 0.25 * face * (1 - rim))
        top.spec = top.spec + 0.05 * face
