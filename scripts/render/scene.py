"""Background, cast shadow, layering in linear light, and the camera (noise, highlight roll-off, encoding)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import SS, Stage, blur, extent, noise, resize
from .color import Plane, linear_of, to_srgb
from .piece import CLASSES, OTHER, PRODUCT, SKIN, Piece


@dataclass
class Shot:
    """What the camera saw, at final size: ``rgb`` and ``alpha`` 8 bits, ``mask`` of classes, ``dye_shares``."""

    rgb: np.ndarray
    alpha: np.ndarray | None
    mask: np.ndarray
    dye_shares: list[float]
    background: Plane  # linear mean color


def backdrop(kind: str, stage: Stage, hex_code: str, rng: np.random.Generator) -> Plane:
    """Linear RGB (H, W, 3): ``plain``, ``gradient``, ``wood``, ``tiles``, ``carpet`` or ``wall`` (floor and wall)."""
    h, w = stage.shape
    base = np.broadcast_to(linear_of(hex_code), (h, w, 3)).astype(np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    y, x = y / h, x / w
    if kind == "plain":
        return base
    if kind == "gradient":
        glow = np.exp(-(((x - 0.45) / 0.55) ** 2) - ((y - 0.35) / 0.6) ** 2)
        return base * (0.62 + 0.42 * glow - 0.10 * y)[..., None]
    if kind == "wood":
        plank = np.floor(x * 5)
        drift = noise(rng, (h, w), w / 9, h) * 0.02
        grain = noise(rng, (h, w), 2.2, 90) * 0.10 + noise(rng, (h, w), 9, 260) * 0.12
        tone = 1 + 0.16 * np.sin(plank * 12.9898) + grain + drift
        gap = np.abs((x * 5) % 1 - 0.5) > 0.492
        return base * (np.clip(tone, 0.3, 1.6) * np.where(gap, 0.35, 1))[..., None]
    if kind == "tiles":
        joint = (np.abs((x * 3) % 1 - 0.5) > 0.488) | (np.abs((y * 4) % 1 - 0.5) > 0.488)
        tone = 1 + 0.05 * noise(rng, (h, w), 60, 60) + 0.03 * noise(rng, (h, w), 6, 6)
        tile = np.sin(np.floor(x * 3) * 7.3 + np.floor(y * 4) * 3.1) * 0.05
        return base * (np.where(joint, 0.55, 1) * (tone + tile))[..., None]
    if kind == "carpet":
        tone = 1 + 0.20 * noise(rng, (h, w), 3, 3) + 0.06 * noise(rng, (h, w), 70, 70)
        return base * np.clip(tone, 0.2, 2)[..., None]
    if kind == "wall":
        floor = y > 0.82
        tone = 1 + 0.02 * noise(rng, (h, w), 40, 40) - 0.12 * (x - 0.4) ** 2
        wood = 0.55 + 0.06 * noise(rng, (h, w), 220, 6)
        warm = linear_of("#b08a63")
        out = base * tone[..., None]
        out = np.where(floor[..., None], warm * wood[..., None] * 1.6, out)
        edge = np.exp(-(((y - 0.82) / 0.012) ** 2)) * 0.35
        return (out * (1 - edge)[..., None]).astype(np.float32)
    raise ValueError(f"unknown backdrop {kind!r}")


def cast(kind: str, stage: Stage, cover: Plane) -> Plane:
    """Darkening 0..1 of the background by the shadow of everything, (H, W)."""
    k = stage.scale * SS
    h, w = stage.shape
    if kind == "none":
        return np.zeros_like(cover)
    if kind == "flat":  # lying on the ground: near and dense
        near, far = blur(cover, 0.03 * k), blur(np.roll(cover, (int(0.09 * k), int(0.08 * k)), (0, 1)), 0.10 * k)
        return np.clip(0.35 * near + 0.40 * far, 0, 0.7)
    if kind == "wall":  # standing before a wall: far and soft
        return 0.30 * blur(np.roll(cover, (int(0.12 * k), int(0.30 * k)), (0, 1)), 0.22 * k)
    rows = np.flatnonzero(cover.max(axis=1) > 0.5)
    if kind == "floor" and rows.size:
        low = int(rows[-1])
        foot = np.flatnonzero(cover[max(0, low - int(0.25 * k)) : low + 1].max(axis=0) > 0.5)
        cx, rx = float(foot.mean()), max(8.0, (foot[-1] - foot[0]) * 0.55)
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        d = np.hypot((x - cx - 0.06 * rx) / rx, (y - low + 0.02 * k) / (0.13 * rx))
        return (0.55 * np.exp(-(d**2.2))).astype(np.float32)
    return np.zeros_like(cover)


def _settle(pieces: list[Piece]) -> list[Plane]:
    """Visible coverage of each piece, (H, W): what the layers above leave free."""
    free = np.ones_like(pieces[0].cover)
    seen: list[Plane] = []
    for p in reversed(pieces):
        seen.insert(0, p.cover * free)
        free = free * (1 - p.cover)
    return seen


def _occlude(pieces: list[Piece], stage: Stage) -> None:
    """Each layer shadows what lies under it; one pass from the top, gathering the light that is left."""
    k = stage.scale * SS
    left = np.ones_like(pieces[0].cover)
    for p in reversed(pieces):
        p.shade = p.shade * left
        if p.reach > 0.015:
            off = max(1, int(0.5 * p.reach * k))
            soft = blur(np.roll(p.cover, (off, off // 2), (0, 1)), p.reach * k)
            left = left * (1 - soft * (1 - p.cover) * np.float32(0.55))


def _expose(pieces: list[Piece], seen: list[Plane]) -> None:
    """Scales the shade of every class so that its median over the visible pixels is 1.

    Then the middle of the product is the dye that the truth names, as a photographer exposes for the product.
    """
    for kinds in ((PRODUCT,), (SKIN,), (3,), (OTHER,)):
        chosen = [(p, v > 0.9) for p, v in zip(pieces, seen, strict=True) if p.kind in kinds]
        values = [p.shade[v] for p, v in chosen if v.any()]
        if values:
            middle = float(np.median(np.concatenate(values)))
            for p, v in chosen:
                p.shade = p.shade / np.float32(max(middle, 0.05))
                # A highlight adds white light: its usual amount belongs to the dye as we see it, or black cloth would
                # turn out grey. Only what exceeds the piece's own median stays.
                usual = np.median(p.spec[v]) if v.any() else np.float32(0)
                p.spec = np.maximum(p.spec - usual, 0)


def _roll_off(linear: Plane) -> Plane:
    """Highlights above 0.85 bend to 1 instead of clipping, as film and cameras do."""
    over = np.maximum(linear - 0.85, 0)
    return np.where(linear > 0.85, 0.85 + 0.15 * (1 - np.exp(-over / 0.15)), linear)


def _down(plane: Plane) -> Plane:
    h, w = plane.shape[:2]
    return plane.reshape(h // SS, SS, w // SS, SS, -1).mean(axis=(1, 3)).squeeze()


def shoot(
    stage: Stage,
    pieces: list[Piece],
    dyes: list[Plane],
    back: Plane,
    shadow: str,
    alpha: bool,
    grain: float,
    rng: np.random.Generator,
) -> Shot:
    """Layers the pieces over ``back`` in linear light and takes the picture."""
    _occlude(pieces, stage)
    seen = _settle(pieces)
    _expose(pieces, seen)
    total = np.clip(sum(seen), 0, 1)
    dark = cast(shadow, stage, total)
    image = back * (1 - dark)[..., None] * (1 - total)[..., None]
    classes = [1 - total] + [np.zeros_like(total) for _ in CLASSES[1:]]
    amounts = [0.0] * len(dyes)
    for p, whole in zip(pieces, seen, strict=True):
        box = extent(whole)
        v = whole[box]
        classes[p.kind][box] += v
        base: Plane
        if p.weights is not None:
            weights = [w[box] for w in p.weights]
            base = np.sum([w[..., None] * d for w, d in zip(weights, dyes, strict=True)], axis=0)
            amounts = [a + float((v * w).sum()) for a, w in zip(amounts, weights, strict=True)]
        elif p.tint is not None:
            base = p.tint[box] if p.tint.ndim == 3 else p.tint
        image[box] += _roll_off(base * p.shade[box][..., None] + p.spec[box][..., None]) * v[..., None]
    final = _down(image.astype(np.float32))
    mask = np.argmax(np.stack([_down(c) for c in classes]), axis=0).astype(np.uint8)
    # Photon noise grows with the root of the signal; a little read noise stays in the dark.
    g = rng.standard_normal(final.shape).astype(np.float32)
    cutout: np.ndarray | None = None
    if alpha:
        cover = _down(total)
        final = final / np.maximum(cover, 1e-3)[..., None]
        final[cover < 1e-3] = 0
        cutout = np.round(cover * 255).astype(np.uint8)
    else:
        final = final + g * (grain * np.sqrt(np.maximum(final, 0)) + 0.15 * grain)
        # Catalog whites are overexposed on purpose: a hair over 1, so that noise cannot darken them.
        final = np.where(
            (mask == 0)[..., None] & (resize(back.min(axis=2), mask.shape) > 0.995)[..., None] & (_down(dark) < 0.004)[..., None],
            1.0,
            final,
        )
    rgb = np.round(to_srgb(final) * 255).astype(np.uint8)
    shares = [a / max(sum(amounts), 1e-6) for a in amounts]
    outside = mask == 0
    mean = np.median(_down(back)[outside], axis=0) if outside.any() else np.zeros(3)
    return Shot(rgb, cutout, mask, shares, mean)
