"""Shoes, bags, watches and home goods. Units are free here: each good fills about 4 x 4 around the origin."""

from __future__ import annotations

import numpy as np

from .canvas import Point, corner, ellipse, limb, mirrored, smooth
from .piece import PRODUCT, Bench
from .relief import GLAZE, LEATHER, METAL, Finish, Fold, rumple

_RUBBER = Finish(0.04, 10.0, 0.45)


def shoe(bench: Bench, kind: str) -> None:
    """``sneaker`` or ``oxford``, from the side, toe to the right; dye 1 is the sole."""
    upper = smooth(
        [
            (-1.62, 0.42),
            (-1.68, -0.25),
            *corner(-1.52, -0.80),
            (-1.15, -0.62),
            *corner(-0.72, -0.86),
            (-0.30, -0.52),
            (0.35, -0.12),
            (1.05, 0.02),
            (1.58, 0.20),
            (1.72, 0.46),
            *corner(1.66, 0.62),
            *corner(-1.62, 0.62),
        ]
    )
    sneaker = kind == "sneaker"
    tongue = smooth([*corner(-0.95, -0.7), (-0.78, -1.02), (-0.60, -0.98), *corner(-0.25, -0.48)])
    bench.cut(PRODUCT, [tongue], dye=0, dim=0.8)
    folds = [Fold(0.45, -0.05, 0.62 + 0.1 * i, 0.45, 0.035, f) for i, f in enumerate((0.03, -0.03, 0.025))]
    bench.cut(PRODUCT, [upper], dye=0, folds=folds, depth=0.75, finish=None if sneaker else LEATHER)
    bench.seam(smooth([(-1.62, -0.05), (-1.2, 0.0), (-0.95, 0.60)], False), 0.03, 0.35)
    bench.seam(smooth([(0.75, -0.06), (0.82, 0.25), (1.0, 0.6)], False), 0.025, 0.35)
    bench.seam(smooth([(-0.78, -0.80), (-0.42, -0.28), (0.30, 0.10), (0.36, 0.0)], False), 0.02, 0.4)
    bench.seam(smooth([(-1.5, -0.72), (-1.15, -0.54), (-0.76, -0.76)], False), 0.03, 0.25)
    if sneaker:
        bench.cut(
            PRODUCT,
            bench.stage.stroke(smooth([(-0.75, 0.50), (-0.2, 0.12), (0.05, 0.30), (0.55, 0.48)], False), 0.11),
            dye=1,
            depth=0.2,
        )
    for i in range(5):
        x, y = -0.62 + 0.19 * i, -0.70 + 0.135 * i
        bench.cut(
            PRODUCT,
            bench.stage.stroke([(x, y), (x + 0.05, y + 0.30)], 0.055),
            dye=1 if sneaker else 0,
            reach=0.03,
            dim=1 if sneaker else 0.8,
        )
    high = 0.36 if sneaker else 0.17
    sole: list[Point] = [
        *corner(-1.66, 0.52),
        (-0.9, 0.57),
        (0.2, 0.60),
        (1.2, 0.55),
        *corner(1.76, 0.44),
        (1.80, 0.62),
        (1.60, 0.52 + high),
        *corner(-0.6, 0.56 + high),
        *corner(-1.64, 0.56 + high),
    ]
    bench.cut(PRODUCT, [smooth(sole)], dye=1, depth=0.35, finish=_RUBBER, reach=0.05)
    bench.seam([(-1.64, 0.56 + high * 0.55), (0.2, 0.58 + high * 0.55), (1.74, 0.48 + high * 0.4)], 0.02, 0.3)
    if not sneaker:
        bench.cut(PRODUCT, [[(-1.62, 0.70), (-0.75, 0.70), (-0.80, 1.0), (-1.60, 1.0)]], dye=1, depth=0.35, finish=_RUBBER)


def bag(bench: Bench, kind: str) -> None:
    """``handbag`` (flap and handle) or ``tote``; dye 1 is the metal or the trim."""
    handle = smooth([(-0.75, -0.55), (-0.62, -1.45), (0, -1.85), (0.62, -1.45), (0.75, -0.55)], False)
    if kind == "tote":
        back = [(x * 0.9, y - 0.05) for x, y in handle]
        bench.cut(PRODUCT, bench.stage.stroke(back, 0.11), dye=0, dim=0.6)
    body = smooth(
        mirrored(
            [
                *corner(0.0, -0.70),
                *corner(1.18 if kind == "tote" else 1.10, -0.70),
                (1.34, 0.2),
                (1.46, 1.05),
                (1.36, 1.42),
                (1.0, 1.50),
                (0.0, 1.53),
            ]
        )
    )
    r = bench.rng
    folds = [Fold(s * 1.2, -0.6, s * r.uniform(0.5, 0.9), 1.2, 0.06, r.uniform(-0.03, 0.05)) for s in (-1, 1) for _ in range(2)]
    bench.cut(PRODUCT, [body], folds=folds, extra=rumple(bench.stage, r, 0.5, 0.5, 0.008), depth=0.55)
    bench.seam([(x * 0.93, y * 0.93) for x, y in body], 0.012, 0.25)
    if kind == "handbag":
        flap = smooth(mirrored([*corner(0.0, -0.78), *corner(1.14, -0.75), (1.22, -0.1), (0.95, 0.38), (0.0, 0.55)]))
        bench.cut(PRODUCT, [flap], depth=0.5, reach=0.10)
        bench.seam([(x * 0.94, y * 0.92 - 0.01) for x, y in flap], 0.012, 0.3)
        bench.cut(
            PRODUCT,
            [smooth(mirrored([*corner(0, 0.40), *corner(0.14, 0.40), *corner(0.14, 0.70), *corner(0, 0.72)]))],
            dye=1,
            finish=METAL,
            cloth="smooth",
        )
    bench.cut(PRODUCT, bench.stage.stroke(handle, 0.13), dye=0, reach=0.08)
    for x in (-0.75, 0.75):
        bench.cut(PRODUCT, [ellipse(x, -0.52, 0.12, 0.12)], dye=1, finish=METAL, cloth="smooth", reach=0.03)


def watch(bench: Bench, kind: str) -> None:
    """A wrist watch from the front: dye 0 strap, dye 1 case, dye 2 dial."""
    link = kind == "steelwatch"
    for s in (-1, 1):
        strap = [
            (-0.46, s * 0.7),
            (0.46, s * 0.7),
            (0.40, s * 1.5),
            (0.36, s * 2.25),
            (-0.36, s * 2.25),
            (-0.40, s * 1.5),
        ]
        bench.cut(PRODUCT, [strap], dye=0, depth=0.5, finish=METAL if link else LEATHER, cloth="smooth" if link else "leather")
        if link:
            for y in np.arange(0.95, 2.2, 0.17):
                bench.seam([(-0.45, s * float(y)), (0.45, s * float(y))], 0.022, 0.55)
            for x in (-0.16, 0.16):
                bench.seam([(x, s * 0.9), (x * 0.85, s * 2.25)], 0.016, 0.4)
        else:
            for x in (-0.37, 0.37):
                bench.seam([(x, s * 0.95), (x * 0.82, s * 2.2)], 0.016, 0.4)
    bench.cut(PRODUCT, [[(0.85, -0.1), (1.05, -0.12), (1.05, 0.12), (0.85, 0.1)]], dye=1, finish=METAL, cloth="smooth")
    bench.cut(PRODUCT, [ellipse(0, 0, 0.92, 0.92)], dye=1, finish=METAL, cloth="smooth", depth=0.8, reach=0.08)
    bench.cut(PRODUCT, [ellipse(0, 0, 0.74, 0.74)], dye=2, flat=True, finish=Finish(0.05, 4.0, 0.5), cloth="smooth")
    bench.seam(ellipse(0, 0, 0.73, 0.73) + [(0.73, 0.0)], 0.05, 0.4)
    for i in range(12):
        a = i * np.pi / 6
        c, s_ = float(np.cos(a)), float(np.sin(a))
        bench.cut(
            PRODUCT,
            bench.stage.stroke([(0.54 * c, 0.54 * s_), (0.63 * c, 0.63 * s_)], 0.045 if i % 3 else 0.07),
            dye=1,
            flat=True,
            cloth="smooth",
            reach=0.01,
        )
    for (x, y), wide in (((-0.26, -0.24), 0.06), ((0.34, -0.36), 0.045)):
        bench.cut(PRODUCT, bench.stage.stroke([(0, 0), (x, y)], wide), dye=1, cloth="smooth", finish=METAL, reach=0.03)


def home(bench: Bench, kind: str) -> None:
    """``mug``, ``vase``, ``lamp`` or ``cushion``."""
    if kind == "mug":
        handle = smooth([(0.85, -0.55), (1.55, -0.62), (1.62, 0.25), (0.88, 0.55)], False)
        bench.cut(PRODUCT, bench.stage.stroke(handle, 0.26), dye=0, finish=GLAZE, cloth="smooth")
        side = [
            *corner(-1.0, -1.0),
            (-0.96, 0.5),
            (-0.93, 0.9),
            (-0.80, 1.08),
            (-0.45, 1.19),
            (0, 1.22),
            (0.45, 1.19),
            (0.80, 1.08),
            (0.93, 0.9),
            (0.96, 0.5),
            *corner(1.0, -1.0),
            (0.5, -0.86),
            (-0.5, -0.86),
        ]
        bench.cut(PRODUCT, [smooth(side)], finish=GLAZE, cloth="smooth", depth=0.8)
        bench.cut(PRODUCT, [ellipse(0, -1.0, 1.0, 0.22)], dye=0, flat=True, finish=GLAZE, cloth="smooth", dim=1.1)
        bench.cut(PRODUCT, [ellipse(0, -0.98, 0.91, 0.17)], dye=0, finish=GLAZE, cloth="smooth", dim=0.55, depth=-0.5)
    elif kind == "vase":
        right = [
            (0.0, -1.72),
            *corner(0.36, -1.70),
            (0.26, -1.3),
            (0.34, -0.8),
            (0.90, 0.1),
            (0.92, 0.75),
            (0.70, 1.30),
            (0.52, 1.56),
            (0.30, 1.65),
            (0.0, 1.67),
        ]
        bench.cut(PRODUCT, [smooth(mirrored(right))], finish=GLAZE, cloth="smooth", depth=0.85)
        bench.cut(PRODUCT, [ellipse(0, -1.70, 0.34, 0.075)], dye=0, flat=True, cloth="smooth", dim=0.4)
    elif kind == "lamp":
        bench.cut(PRODUCT, [limb([(0, -0.4), (0, 1.5)], [0.06, 0.06])], dye=1, finish=METAL, cloth="smooth")
        bench.cut(
            PRODUCT,
            [smooth(mirrored([(0, 1.42), (0.2, 1.46), (0.72, 1.66), (0.6, 1.78), (0, 1.82)]))],
            dye=1,
            finish=METAL,
            cloth="smooth",
        )
        shade = mirrored([(0.0, -1.68), (0.60, -1.66), (1.12, 0.10), (0.6, 0.19), (0.0, 0.22)])
        bench.cut(PRODUCT, [shade], depth=0.5, reach=0.12)
        bench.seam([(-1.1, 0.03), (-0.6, 0.12), (0, 0.15), (0.6, 0.12), (1.1, 0.03)], 0.02, 0.2)
        # A lit shade glows from within, brightest at the height of the bulb.
        x, y = bench.stage.grid()
        bench.pieces[-1].shade *= (1 + 0.35 * np.exp(-(((y + 0.5) / 0.6) ** 2) - (x / 0.7) ** 2)).astype(np.float32)
    else:
        e = 1.45
        side = smooth([(-e, -e), (0, -1.27), (e, -e), (1.30, 0), (e, e), (0, 1.30), (-e, e), (-1.30, 0)])
        r = bench.rng
        folds = [
            Fold(sx * e, sy * e, sx * r.uniform(0.3, 0.8), sy * r.uniform(0.3, 0.8), 0.06, r.uniform(-0.06, 0.06))
            for sx in (-1, 1)
            for sy in (-1, 1)
            for _ in range(3)
        ]
        bench.cut(PRODUCT, [side], folds=folds, extra=rumple(bench.stage, r, 0.6, 0.6, 0.02), depth=0.5)


def cloth(bench: Bench) -> None:
    """A fabric close-up: cloth that fills the picture."""
    r = bench.rng
    folds = [
        Fold(
            r.uniform(-2, 0),
            r.uniform(-2.6, 2.6),
            r.uniform(0.3, 2),
            r.uniform(-2.6, 2.6),
            r.uniform(0.08, 0.2),
            r.uniform(-0.08, 0.1),
        )
        for _ in range(9)
    ]
    whole = np.ones(bench.stage.shape, np.float32)
    bench.cut(PRODUCT, whole, folds=folds, extra=rumple(bench.stage, r, 1.2, 1.6, 0.06), depth=0.45)
