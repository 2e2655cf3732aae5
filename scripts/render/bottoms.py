"""Lower garments: trousers, jeans, shorts and skirts."""

from __future__ import annotations

import numpy as np

from .canvas import Point, corner, flip, limb, mirrored, smooth
from .figure import LEG
from .piece import PRODUCT, Bench
from .relief import Fold, rumple

_LENGTH = {"trousers": 7.65, "jeans": 7.65, "shorts": 5.55}


def _legs(kind: str, wide: float) -> list[list[Point]]:
    end = _LENGTH[kind]
    axis = [(0.34, 4.0), (0.38, 4.7), (0.38, 5.0)] if kind == "shorts" else [(0.34, 4.0), (0.37, 4.8), LEG[2], LEG[3]]
    radii = [0.385, 0.36, 0.345] if kind == "shorts" else [0.385, 0.37, 0.29, 0.265]
    leg = limb([*axis, (0.41, end)], [*(r + wide for r in radii), (0.335 if kind == "shorts" else 0.23) + wide])
    hips = smooth(
        mirrored(
            [
                *corner(0.0, 3.22),
                *corner(0.59, 3.18),
                (0.64, 3.45),
                (0.73, 3.9),
                *corner(0.73, 4.12),
                *corner(0.40, 4.5),
                *corner(0.02, 4.38),
            ]
        )
    )
    return [hips, leg, flip(leg)]


def _folds(bench: Bench, kind: str) -> list[Fold]:
    r = bench.rng
    end = _LENGTH[kind]
    out = [Fold(0.0, 3.4, 0.0, 4.4, 0.03, -0.05)]
    for s in (-1.0, 1.0):
        for _ in range(5):  # whiskers from the crotch
            out.append(
                Fold(
                    s * 0.03,
                    4.25 + r.uniform(-0.1, 0.15),
                    s * r.uniform(0.35, 0.72),
                    r.uniform(3.9, 4.6),
                    0.03,
                    r.uniform(-0.03, 0.045),
                )
            )
        if kind == "shorts":
            out += [Fold(s * 0.3, 4.4, s * r.uniform(0.2, 0.6), end, 0.06, r.uniform(-0.04, 0.05)) for _ in range(3)]
            continue
        for _ in range(6):  # behind the knee and over the shoe the cloth breaks
            y = r.choice([r.uniform(5.5, 6.1), r.uniform(7.0, 7.55)])
            out.append(Fold(s * 0.12, y, s * 0.66, y + r.uniform(-0.2, 0.2), r.uniform(0.025, 0.045), r.uniform(-0.035, 0.035)))
        if kind == "trousers":
            out.append(Fold(s * 0.40, 3.9, s * 0.40, 8.2, 0.022, 0.06))  # the ironed crease
        out += [Fold(s * r.uniform(0.2, 0.6), 4.5, s * r.uniform(0.3, 0.5), 6.0, 0.05, r.uniform(-0.03, 0.03)) for _ in range(3)]
    return out


def lower(bench: Bench, kind: str) -> None:
    """Trousers, jeans or shorts."""
    wide = {"jeans": -0.02, "trousers": 0.02, "shorts": 0.03}[kind]
    stage, rng = bench.stage, bench.rng
    bench.cut(PRODUCT, _legs(kind, wide), folds=_folds(bench, kind), extra=rumple(stage, rng, 0.3, 0.8, 0.008), depth=0.55)
    if kind == "jeans":
        # Washing fades jeans on the thighs and knees; it lightens the dye, so it is part of the shade.
        gx, gy = stage.grid()
        worn = np.exp(-(((np.abs(gx) - 0.40) / 0.16) ** 2)) * (
            np.exp(-(((gy - 4.9) / 0.6) ** 2)) + 0.7 * np.exp(-(((gy - 5.9) / 0.3) ** 2))
        )
        bench.pieces[-1].shade *= (1 + 0.45 * worn).astype(np.float32)
    end = _LENGTH[kind]
    for side in (list, flip):
        bench.seam(side(smooth([(0.34, 3.34), (0.42, 3.62), (0.66, 3.74)], False)), 0.014, 0.45)
        bench.seam(side([(0.0, end - 0.10), (0.9, end - 0.10)]), 0.010, 0.3)
        if kind == "jeans":
            bench.seam(side(smooth([(0.31, 3.34), (0.39, 3.66), (0.66, 3.79)], False)), 0.008, 0.25)
    bench.seam(smooth([(0.07, 3.36), (0.08, 3.85), (0.0, 4.15)], False), 0.010, 0.4)
    band = smooth(mirrored([*corner(0.0, 3.20), *corner(0.595, 3.15), *corner(0.615, 3.33), *corner(0.0, 3.38)]))
    bench.cut(PRODUCT, [band], depth=0.35, reach=0.03)
    bench.button(0.0, 3.29, 0.035)
    for x in (-0.42, -0.22, 0.22, 0.42):
        bench.seam([(x, 3.17), (x, 3.36)], 0.035, 0.22)


def skirt(bench: Bench, kind: str) -> None:
    """``skirt`` (flared), ``pencil`` (straight) or ``pleated``."""
    hem, out = {"skirt": (5.6, 1.15), "pencil": (5.75, 0.66), "pleated": (5.3, 1.05)}[kind]
    n, sway = 11, 0.0 if kind == "pencil" else 0.028
    wave = [(float(x), hem + sway * float(np.sin(2.4 * i))) for i, x in enumerate(np.linspace(out, 0, n))]
    side = [
        *corner(0.0, 3.25),
        *corner(0.57, 3.2),
        (0.74, 3.75),
        (0.76 + 0.25 * (out - 0.7), 4.3),
        *corner(*wave[0]),
        *wave[1:],
    ]
    r = bench.rng
    folds: list[Fold] = []
    count = {"skirt": 7, "pencil": 2, "pleated": 12}[kind]
    for s in (-1.0, 1.0):
        for i in range(count):
            t = s * (i + (0.5 if kind == "pleated" else r.uniform(0.2, 0.8))) / count
            up = 0.07 * (1 if i % 2 else -1) * (1 if kind == "pleated" else r.uniform(0.5, 1.4))
            folds.append(Fold(t * 0.58, 3.15, t * out, hem + 0.6, 0.045, up * (0.4 if kind == "pencil" else 1)))
    if kind == "pencil":
        folds += [Fold(-0.7, y, 0.7, y + 0.1, 0.04, r.uniform(-0.02, 0.03)) for y in (3.9, 4.2, 4.6)]
    bench.cut(PRODUCT, [smooth(mirrored(side))], folds=folds, extra=rumple(bench.stage, r, 0.4, 1.5, 0.008), depth=0.5)
    bench.seam([(-1.3, hem - 0.09), (1.3, hem - 0.09)], 0.010, 0.25)
    band = smooth(mirrored([*corner(0.0, 3.22), *corner(0.575, 3.17), *corner(0.59, 3.34), *corner(0.0, 3.40)]))
    bench.cut(PRODUCT, [band], dye=0, depth=0.3, reach=0.03)
