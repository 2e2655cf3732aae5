"""Color arithmetic: sRGB, linear light, CIELAB under D65.

Light adds in linear units: an edge pixel that is half garment and half wall sends the mean of both *intensities*
to the sensor. Blending the gamma-coded bytes instead makes edges and shadows too dark and shifts their hue, and a
mask or palette tuned on such pictures would learn the error. So everything here is blended in linear light and
encoded once, at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# (H, W) or (H, W, 3) floats, float32 in practice; numpy's stubs lose the width in arithmetic.
Plane = NDArray[Any]

# IEC 61966-2-1, linear sRGB to XYZ (D65, Y of white = 1).
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ.sum(axis=1)


def to_linear(srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """sRGB 0..1 to linear light 0..1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """Linear light to sRGB 0..1; values outside 0..1 are clipped, as a sensor clips them."""
    v = np.clip(linear, 0.0, 1.0)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * np.power(v, 1 / 2.4) - 0.055)


def linear_of(hex_code: str) -> Plane:
    """``#rrggbb`` to three linear values."""
    raw = [int(hex_code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return to_linear(np.array(raw)).astype(np.float32)


def hex_of(linear: NDArray[np.floating]) -> str:
    """Three linear values to ``#rrggbb``."""
    return "#" + "".join(f"{round(float(v) * 255):02x}" for v in to_srgb(linear))


def lab_of(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """Linear sRGB (..., 3) to CIELAB (..., 3), D65, CIE 1976."""
    t = (np.asarray(linear, dtype=np.float64) @ _XYZ.T) / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def lab_of_hex(hex_code: str) -> list[float]:
    """``#rrggbb`` to CIELAB, two decimals, as the truth files carry it."""
    return [round(float(v), 2) for v in lab_of(linear_of(hex_code))]


# Dyes: name in the plan -> (sRGB, basic name). The basic name is one of the 12 of the color room.
# No dye lies near a border of its basic name: a truth that people would argue about measures nothing.
DYES: dict[str, tuple[str, str]] = {
    "black": ("#19191b", "black"), "jet": ("#141416", "black"), "white": ("#f1f1ef", "white"),
    "snow": ("#f6f6f5", "white"), "grey": ("#8a8c8f", "grey"), "charcoal": ("#505256", "grey"),
    "silver": ("#b7babd", "grey"), "steel": ("#9a9da1", "grey"), "red": ("#b81f2d", "red"),
    "crimson": ("#a3142f", "red"), "brick": ("#a8322a", "red"), "orange": ("#e8742a", "orange"),
    "tangerine": ("#f08524", "orange"), "yellow": ("#f0c830", "yellow"), "lemon": ("#f1dc5a", "yellow"),
    "green": ("#2f7d46", "green"), "forest": ("#24523a", "green"), "mint": ("#8fd0ae", "green"),
    "lime": ("#86b83a", "green"), "blue": ("#2f62b5", "blue"), "navy": ("#1e2c55", "blue"),
    "sky": ("#86b6e0", "blue"), "denim": ("#46658f", "blue"), "indigo": ("#2c3d63", "blue"),
    "purple": ("#6a3d8f", "purple"), "plum": ("#5c2a63", "purple"), "lavender": ("#a98fd0", "purple"),
    "pink": ("#ec8fb0", "pink"), "fuchsia": ("#d9408a", "pink"), "rose": ("#f0b3c4", "pink"),
    "brown": ("#6a4630", "brown"), "chocolate": ("#4a2f22", "brown"), "tan": ("#9a6b42", "brown"),
    "beige": ("#d9c6a5", "beige"), "sand": ("#cdb791", "beige"), "cream": ("#ecdfc4", "beige"),
    "camel": ("#8f6238", "brown"), "gold": ("#c9a23c", "yellow"),
}

# Monk Skin Tone scale, tones 1 to 10 (Monk 2019, published sRGB values).
MONK: tuple[str, ...] = (
    "#f6ede4", "#f3e7db", "#f7ead0", "#eadaba", "#d7bd96", "#a07e56", "#825c43", "#604134", "#3a312a", "#292420",
)
HAIR: tuple[str, ...] = ("#1b1614", "#2a1d16", "#4b3121", "#7a5534", "#b08d57", "#6b2f1c", "#8c8781")
