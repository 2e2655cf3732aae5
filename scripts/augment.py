"""Views of a photo: what shops, phones and chat apps do to it between catalog and query.

Why: the embedding must find the same photo after a re-crop, mirror, re-compression or another
exposure, and the heads must not depend on them. Every view is a function of (seed, key, view) alone.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image, ImageEnhance


def rng_for(seed: int, key: str, view: str) -> np.random.Generator:
    """A generator that depends on its arguments only, not on order or process."""
    digest = hashlib.sha256(f"{seed}|{key}|{view}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def crop(image: Image.Image, rng: np.random.Generator, area: tuple[float, float], stretch: float) -> Image.Image:
    """A random window that keeps a share of `area`, its aspect off by up to the factor `stretch`."""
    share = rng.uniform(*area)
    ratio = np.exp(rng.uniform(-np.log(stretch), np.log(stretch)))
    w, h = image.size
    cw = max(8, min(w, round(w * np.sqrt(share * ratio))))
    ch = max(8, min(h, round(h * np.sqrt(share / ratio))))
    x, y = int(rng.integers(0, w - cw + 1)), int(rng.integers(0, h - ch + 1))
    return image.crop((x, y, x + cw, y + ch))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The photo after JPEG compression."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def training_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Harder than what `query_view` does, so that there is margin."""
    image = crop(image, rng, (0.55, 1.0), 1.2)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.15:
        image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    if rng.random() < 0.85:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.32))
    if rng.random() < 0.4:
        image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.85, 1.2))
    if rng.random() < 0.3:
        image = ImageEnhance.Color(image).enhance(rng.uniform(0.8, 1.25))
    if rng.random() < 0.25:
        gains = rng.uniform(0.93, 1.07, 3)
        image = Image.fromarray(np.clip(np.asarray(image) * gains, 0, 255).astype(np.uint8))
    if rng.random() < 0.2:
        side = int(rng.integers(96, 200))
        image = image.resize((side, max(8, round(side * image.height / image.width))), Image.Resampling.BILINEAR)
    if rng.random() < 0.8:
        image = jpeg(image, int(rng.integers(35, 91)))
    return image


def query_view(image: Image.Image, rng: np.random.Generator, hard: bool) -> Image.Image:
    """The judged change: 80 to 90 % of the area (hard: of each side), mirrored, x1.1 to 1.25, JPEG 50 to 70."""
    area = (0.64, 0.81) if hard else (0.8, 0.9)
    image = crop(image, rng, area, 1.0)
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(1.1, 1.25))
    return jpeg(image, int(rng.integers(50, 71)))


def view(image: Image.Image, seed: int, key: str, name: str) -> Image.Image:
    """The view `name` of a photo: `clean`, `aug<k>`, `query` or `hard`."""
    if name == "clean":
        return image
    rng = rng_for(seed, key, name)
    if name.startswith("aug"):
        return training_view(image, rng)
    if name in ("query", "hard"):
        return query_view(image, rng, name == "hard")
    raise ValueError(f"no view named {name!r}")
