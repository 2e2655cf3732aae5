"""Upper garments and dresses: T-shirt, long sleeve, shirt, polo, V-neck, tank top, hoodie, dress.

One cut with parameters, as pattern makers have: a block for the body, a sleeve along the arm, a neckline, details.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Point, corner, flip, limb, mirrored, smooth
from .figure import ARM
from .piece import PRODUCT, Bench
from .relief import Fold, rumple


@dataclass(frozen=True)
class Cut:
    """Measures of an upper garment in head units; ``sleeve`` is where on the arm it ends, 0 none to 1 wrist."""

    neck: str = "round"
    sleeve: float = 0.3
    hem: float = 4.15
    ease: float = 0.0  # width added to the body
    waist: float = 0.62
    hip: float = 0.81
    flare: float = 0.0  # how much the skirt of a dress widens


CUTS: dict[str, Cut] = {
    "tshirt": Cut(),
    "vneck": Cut(neck="v"),
    "polo": Cut(neck="polo", sleeve=0.32),
    "longsleeve": Cut(sleeve=1.0),
    "shirt": Cut(neck="collar", sleeve=1.0, hem=4.3, ease=0.03),
    "halfshirt": Cut(neck="collar", sleeve=0.34, hem=4.25, ease=0.03),
    "tank": Cut(neck="scoop", sleeve=0.0, hem=4.1),
    "hoodie": Cut(neck="hood", sleeve=1.0, hem=4.15, ease=0.10, waist=0.74, hip=0.78),
    "sweater": Cut(sleeve=1.0, hem=4.1, ease=0.05, waist=0.70, hip=0.74),
    "dress": Cut(neck="round", sleeve=0.28, hem=6.1, waist=0.54, hip=0.80, flare=0.62),
    "gown": Cut(neck="v", sleeve=0.0, hem=7.2, waist=0.53, hip=0.78, flare=0.70),
    "longdress": Cut(neck="round", sleeve=1.0, hem=5.7, waist=0.54, hip=0.78, flare=0.30),
}


def _neck_front(cut: Cut) -> tuple[float, list[Point]]:
    """Half width at the shoulder, and the right half of the front edge from the center out."""
    if cut.neck == "v":
        return 0.33, [*corner(0.0, 2.12), (0.17, 1.76), *corner(0.33, 1.40)]
    if cut.neck == "scoop":
        return 0.46, [(0.0, 1.98), (0.24, 1.90), (0.38, 1.70), *corner(0.46, 1.43)]
    if cut.neck in ("collar", "polo", "hood"):
        return 0.30, [(0.0, 1.60), (0.15, 1.54), *corner(0.30, 1.38)]
    return 0.34, [(0.0, 1.68), (0.18, 1.63), (0.29, 1.52), *corner(0.34, 1.40)]


def _body(cut: Cut) -> list[Point]:
    e = cut.ease
    _, neck = _neck_front(cut)
    if cut.sleeve == 0:
        side = [*corner(0.66, 1.48), (0.60, 1.75), (0.62, 2.05), *corner(0.75 + e, 2.32)]
    else:
        side = [(0.66, 1.47), (0.88 + e, 1.58), (0.96 + e, 1.78), (0.84 + e, 2.15), *corner(0.77 + e, 2.38)]
    side += [(0.70 + e, 2.7), (cut.waist + e, 3.15)]
    if cut.flare:
        n = 9
        wave = [(x, cut.hem + 0.035 * float(np.sin(2.6 * i))) for i, x in enumerate(np.linspace(cut.hip + cut.flare, 0, n))]
        side += [(cut.waist + 0.10 + e, 3.6), (cut.hip + 0.35 * cut.flare, 4.5), *corner(*wave[0]), *wave[1:]]
    else:
        side += [(cut.hip - 0.03 + e, 3.7), *corner(cut.hip + e, cut.hem), (0.4, cut.hem + 0.05), (0.0, cut.hem + 0.06)]
    return smooth(mirrored(neck + side))


def _sleeve(cut: Cut) -> tuple[list[Point], Point, float]:
    """Outline of the right sleeve, the middle of its cuff and the cuff's half width."""
    line = np.array(smooth(ARM, closed=False))
    n = max(4, round(len(line) * min(1.0, cut.sleeve + 0.02)))
    keep = line[:n:3] if n % 3 == 1 else np.concatenate([line[:n:3], line[n - 1 : n]])
    wide = 0.235 + 0.5 * cut.ease
    end = 0.225 if cut.sleeve < 0.6 else 0.135 + 0.3 * cut.ease
    axis: list[Point] = [(0.62, 1.53), *[(float(x), float(y)) for x, y in keep]]
    radii = np.interp(np.linspace(0, 1, len(axis)), [0, 1 / (len(axis) - 1), 0.5, 1], [0.03, 0.16, wide, end])
    return limb(axis, [float(r) for r in radii]), axis[-1], end


def _folds(bench: Bench, cut: Cut) -> list[Fold]:
    r = bench.rng
    out: list[Fold] = []
    for s in (-1.0, 1.0):
        for _ in range(4):  # drag lines from the armpit to the belly
            x, y = s * r.uniform(0.05, 0.45), r.uniform(2.5, 3.3)
            out.append(Fold(s * 0.76, 2.25 + r.uniform(-0.1, 0.15), x, y, r.uniform(0.03, 0.06), r.uniform(-0.055, 0.065)))
        if cut.sleeve:
            out.append(Fold(s * 0.80, 1.85, s * 0.70, 2.5, 0.04, -0.05))
        for _ in range(4):  # creases round the waist
            y = r.uniform(2.8, 3.5)
            out.append(
                Fold(
                    s * 0.66,
                    y,
                    s * r.uniform(0.0, 0.35),
                    y + r.uniform(0.0, 0.3),
                    r.uniform(0.025, 0.05),
                    r.uniform(-0.045, 0.05),
                )
            )
        if cut.flare:
            for i in range(6):  # the skirt falls in cones
                x = s * (i + r.uniform(0.2, 0.8)) / 6
                out.append(
                    Fold(
                        x * cut.waist * 0.8,
                        3.3,
                        x * (cut.hip + cut.flare),
                        cut.hem + 0.4,
                        0.05 + 0.02 * cut.flare,
                        r.uniform(0.05, 0.11) * (1 if i % 2 else -1),
                    )
                )
    return out


def _sleeve_folds(bench: Bench, cut: Cut, s: float) -> list[Fold]:
    r = bench.rng
    ys = r.uniform(1.95, 1.75 + 2.0 * max(cut.sleeve, 0.3), 3 if cut.sleeve < 0.6 else 8)
    return [
        Fold(
            s * (0.62 + 0.20 * (y - 1.6)),
            y,
            s * (1.12 + 0.16 * (y - 1.6)),
            y + r.uniform(-0.25, 0.15),
            r.uniform(0.02, 0.045),
            r.uniform(-0.04, 0.05),
        )
        for y in ys
    ]


def upper(bench: Bench, kind: str, worn: bool) -> None:
    """Cuts an upper garment or dress onto the bench, back to front."""
    cut = CUTS[kind]
    stage, rng = bench.stage, bench.rng
    half, front = _neck_front(cut)
    if not worn:  # the inside of the back shows through the neckline of an empty garment
        inside = smooth(mirrored([(0.0, 1.33), *corner(half, 1.38), (half * 0.8, front[0][1]), (0.0, front[0][1] + 0.12)]))
        bench.cut(PRODUCT, [inside], dye=0, flat=True, dim=0.5)
        bench.seam(smooth([(-half * 0.9, 1.44), (0, 1.41), (half * 0.9, 1.44)], False), 0.02, 0.3)
    if cut.neck == "hood":
        hood = [
            (0.0, 0.62 if not worn else 1.0),
            (0.30, 0.70 if not worn else 1.02),
            (0.52, 1.12),
            (0.50, 1.50),
            (0.30, 1.62),
            (0.0, 1.70),
        ]
        bench.cut(PRODUCT, [smooth(mirrored(hood))], folds=[Fold(s * 0.2, 0.8, s * 0.36, 1.5, 0.05, 0.05) for s in (-1, 1)])
        if worn:  # a hood that is down lies behind the neck: under skin and head
            bench.pieces.insert(0, bench.pieces.pop())
        else:
            bench.cut(
                PRODUCT,
                [smooth(mirrored([(0.0, 0.80), (0.2, 0.86), (0.34, 1.2), (0.26, 1.5), (0.0, 1.62)]))],
                dye=0,
                dim=0.45,
            )
    if cut.sleeve:
        outline, cuff, end = _sleeve(cut)
        for s, side in ((1.0, list), (-1.0, flip)):
            soft = rumple(stage, rng, 0.3, 0.3, 0.006)
            bench.cut(PRODUCT, [side(outline)], folds=_sleeve_folds(bench, cut, s), extra=soft, angle=s * -0.28)
            x, y = cuff
            up = 0.10 if cut.sleeve < 0.6 else (0.22 if cut.neck != "round" else 0.14)
            bench.seam(side([(x - end * 1.2, y - up + 0.05), (x + end * 1.3, y - up - 0.03)]), 0.012, 0.4)
    soft = rumple(stage, rng, 0.35, 0.6 if not cut.flare else 1.5, 0.010)
    bench.cut(PRODUCT, [_body(cut)], folds=_folds(bench, cut), extra=soft, depth=0.5, reach=0.07)
    if not cut.flare:
        bench.seam([(-1.1, cut.hem - 0.08), (0, cut.hem - 0.03), (1.1, cut.hem - 0.08)], 0.010, 0.3)
        if cut.neck == "hood":
            bench.seam([(-1.1, cut.hem - 0.26), (0, cut.hem - 0.22), (1.1, cut.hem - 0.26)], 0.014, 0.45)
    else:
        bench.seam(smooth([(-0.7, 3.12), (0, 3.17), (0.7, 3.12)], False), 0.016, 0.4)
    if cut.sleeve:
        for side in (list, flip):
            bench.seam(side(smooth([(0.72, 1.50), (0.80, 1.85), (0.78, 2.35)], False)), 0.012, 0.3)
    _neckline(bench, cut, front, worn)


def _neckline(bench: Bench, cut: Cut, front: list[Point], worn: bool) -> None:
    edge = smooth(front, closed=False)
    whole = [(-x, y) for x, y in reversed(edge)] + edge
    if cut.neck in ("round", "v", "scoop"):
        bench.cut(PRODUCT, bench.stage.stroke(whole, 0.075), dye=0, reach=0.02)
        bench.seam([(x * 1.14, y + 0.06) for x, y in whole], 0.008, 0.15)
        return
    if cut.neck == "hood":
        pocket = smooth(
            mirrored(
                [
                    *corner(0.0, 3.22),
                    *corner(0.30, 3.22),
                    (0.36, 3.42),
                    *corner(0.52, 3.80),
                    *corner(0.50, 3.88),
                    *corner(0.0, 3.90),
                ]
            )
        )
        bench.cut(PRODUCT, [pocket], dye=0, depth=0.15, reach=0.03)
        for s in (-1, 1):
            bench.cut(
                PRODUCT,
                bench.stage.stroke([(s * 0.16, 1.62), (s * 0.18, 2.0), (s * 0.15, 2.42)], 0.035),
                tint="#e9e7e2",
                reach=0.03,
            )
        return
    low = 2.15 if cut.neck == "polo" else cut.hem + 0.02
    placket = [(-0.065, 1.55), (0.065, 1.55), (0.065, low), (-0.065, low)]
    bench.cut(PRODUCT, [placket], flat=True, reach=0.02)
    for x in (-0.06, 0.06):
        bench.seam([(x, 1.55), (x, low)], 0.008, 0.4)
    for y in np.arange(1.72, low - 0.05, 0.20 if cut.neck == "polo" else 0.42):
        bench.button(0.0, float(y))
    for side in (list, flip):
        leaf = [*corner(0.02, 1.62), *corner(0.28, 1.30), *corner(0.36, 1.40), *corner(0.33, 1.72), *corner(0.20, 1.84)]
        bench.cut(PRODUCT, [side(smooth(leaf))], depth=0.25, reach=0.04, angle=0.5)
    if cut.neck == "collar":
        bench.seam([(0.24, 2.28), (0.60, 2.26), (0.60, 2.64), (0.42, 2.72), (0.24, 2.66), (0.24, 2.28)], 0.010, 0.35)
