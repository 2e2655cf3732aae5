"""A simple mannequin-like figure: head, neck, torso, arms, hands, legs and hair, in head units.

The crown is at y = 0, the chin at 1, the soles at about 8; x = 0 is the axis. Faces stay blank-ish on purpose: the
pictures teach where skin is, not who somebody is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .canvas import Point, blur, ellipse, flip, limb, mirrored, noise, smooth
from .color import linear_of
from .piece import HAIR, SKIN, Bench
from .relief import HAIR_FINISH, Fold
from .relief import SKIN as SKIN_FINISH

# Right side (the viewer's). Half widths follow the usual eight-head figure of drawing books.
ARM: list[Point] = [(0.77, 1.72), (0.96, 2.28), (1.10, 2.95), (1.20, 3.45), (1.27, 3.90)]
ARM_R = [0.14, 0.19, 0.15, 0.135, 0.10]
LEG: list[Point] = [(0.34, 3.9), (0.37, 4.8), (0.37, 5.75), (0.38, 6.5), (0.38, 7.55)]
LEG_R = [0.38, 0.34, 0.225, 0.23, 0.12]
_TORSO = [
    (0.0, 0.78),
    (0.22, 0.82),
    (0.215, 1.12),
    (0.26, 1.33),
    (0.48, 1.46),
    (0.82, 1.55),
    (0.90, 1.75),
    (0.72, 2.3),
    (0.60, 3.0),
    (0.72, 3.9),
    (0.60, 4.3),
]
_HEAD = [(0.0, 0.0), (0.22, 0.04), (0.355, 0.25), (0.375, 0.5), (0.33, 0.74), (0.20, 0.95), (0.0, 1.01)]


def _hand() -> list[list[Point]]:
    palm = smooth([(1.20, 3.84), (1.35, 3.86), (1.42, 4.08), (1.37, 4.27), (1.25, 4.25), (1.19, 4.05)])
    fingers = [
        limb(
            [(1.24 + 0.048 * i, 4.18), (1.255 + 0.045 * i, 4.36), (1.25 + 0.04 * i, 4.50 + 0.03 * (i in (1, 2)))],
            [0.030, 0.028, 0.018],
        )
        for i in range(4)
    ]
    thumb = limb([(1.22, 3.98), (1.145, 4.14), (1.14, 4.26)], [0.045, 0.037, 0.024])
    return [palm, thumb, *fingers]


def body(bench: Bench, tone: str, legs: bool = True) -> None:
    """Skin of arms, legs, torso and neck, back to front."""
    kw: dict[str, Any] = {"tint": tone, "finish": SKIN_FINISH, "cloth": "smooth"}
    for side in (list, flip):
        if legs:
            foot = smooth([(0.28, 7.45), (0.48, 7.45), (0.56, 7.85), (0.46, 7.98), (0.30, 7.95)])
            bench.cut(SKIN, [side(limb(LEG, LEG_R)), side(foot)], folds=[Fold(0.30, 5.7, 0.46, 5.72, 0.05, 0.02)], **kw)
    for side in (list, flip):
        bench.cut(SKIN, [side(limb(ARM, ARM_R)), *(side(p) for p in _hand())], reach=0.03, **kw)
    torso = smooth(mirrored(_TORSO))
    collarbones = [Fold(s * 0.08, 1.56, s * 0.62, 1.50, 0.035, 0.025) for s in (-1, 1)]
    hollows = [Fold(s * 0.12, 1.62, s * 0.55, 1.60, 0.04, -0.02) for s in (-1, 1)]
    tendons = [Fold(s * 0.13, 1.1, s * 0.04, 1.52, 0.03, 0.018) for s in (-1, 1)]
    bench.cut(SKIN, [torso], folds=collarbones + hollows + tendons, depth=0.5, **kw)


def head(bench: Bench, tone: str, hair: str, style: str) -> None:
    """Head with a hint of a face, and hair: ``short``, ``long``, ``bun`` or ``bald``."""
    kw: dict[str, Any] = {"tint": tone, "finish": SKIN_FINISH, "cloth": "smooth"}
    upright = bench.stage
    # Chin over the neck: drawn at 0 to 1, the head sits a tenth lower.
    bench.stage = replace(upright, y0=upright.y0 + 0.1 * upright.scale)
    _face(bench, style, hair, kw)
    bench.stage = upright


def _face(bench: Bench, style: str, hair: str, kw: dict[str, Any]) -> None:
    if style == "long":
        back = smooth([(0.0, -0.10), (0.36, 0.02), (0.50, 0.45), (0.52, 1.1), (0.56, 1.75), (0.34, 1.95), (0.2, 1.2)])
        _hair(bench, back + flip(back)[::-1], hair)
        # Hair hangs behind the shoulders: it goes under the body, which is drawn before the head.
        bench.pieces.insert(0, bench.pieces.pop())
    if style == "bun":
        _hair(bench, ellipse(0, -0.14, 0.20, 0.17), hair)
    for s in (-1, 1):
        bench.cut(SKIN, [ellipse(s * 0.375, 0.54, 0.055, 0.12)], **kw)
    face = [
        Fold(0, 0.45, 0, 0.68, 0.035, 0.045),
        *[Fold(s * 0.08, 0.47, s * 0.24, 0.47, 0.04, -0.04) for s in (-1, 1)],
        *[Fold(s * 0.07, 0.40, s * 0.25, 0.40, 0.03, 0.02) for s in (-1, 1)],
        Fold(-0.08, 0.70, 0.08, 0.70, 0.02, 0.03),
        Fold(-0.09, 0.865, 0.09, 0.865, 0.03, -0.02),
    ]
    bench.cut(SKIN, [smooth(mirrored(_HEAD))], folds=face, depth=0.75, reach=0.10, **kw)
    for s in (-1, 1):
        bench.seam(smooth([(s * 0.09, 0.415), (s * 0.17, 0.39), (s * 0.25, 0.42)], False), 0.022, 0.45)
        bench.seam(smooth([(s * 0.10, 0.495), (s * 0.165, 0.475), (s * 0.23, 0.50)], False), 0.016, 0.6)
        bench.seam([(s * 0.035, 0.685), (s * 0.055, 0.68)], 0.012, 0.35)
    bench.seam(smooth([(-0.11, 0.795), (0.0, 0.80), (0.11, 0.795)], False), 0.014, 0.45)
    _lips(bench)
    if style == "bald":
        return
    top = -0.09 if style != "short" else -0.06
    cap = smooth(
        [
            (-0.395, 0.47),
            (-0.415, 0.25),
            (-0.27, 0.0),
            (0, top),
            (0.27, 0.0),
            (0.415, 0.25),
            (0.395, 0.47),
            (0.345, 0.36),
            (0.27, 0.20),
            (0.06, 0.17),
            (-0.14, 0.15),
            (-0.29, 0.24),
            (-0.345, 0.36),
        ]
    )
    _hair(bench, cap, hair)


def _lips(bench: Bench) -> None:
    """Lips are redder skin: the tint is moved, not the class."""
    s = bench.stage
    lips = blur(s.fill(smooth([(-0.125, 0.795), (-0.05, 0.765), (0, 0.775), (0.05, 0.765), (0.125, 0.795), (0, 0.85)])), 1.2)
    top = bench.pieces[-1]
    assert top.tint is not None
    base = np.broadcast_to(top.tint, (*s.shape, 3))
    red = base * np.array([0.92, 0.62, 0.62], np.float32)
    top.tint = (base + (red - base) * (0.8 * lips)[..., None]).astype(np.float32)


def _hair(bench: Bench, outline: list[Point], hair: str) -> None:
    s = bench.stage
    k = s.scale * 2
    strands = noise(bench.rng, s.shape, 0.016 * k, 0.55 * k) * 0.006 + noise(bench.rng, s.shape, 0.05 * k, 0.9 * k) * 0.008
    bench.cut(HAIR, [outline], tint=linear_of(hair), extra=strands.astype(np.float32), finish=HAIR_FINISH, cloth="smooth")
