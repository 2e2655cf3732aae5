"""Photo files to upright RGB, and to the network's input.

Why apart: the resize rule must be the same here and in the service (`stretch_bilinear`: 224x224
without keeping the aspect, Pillow's antialiased bilinear), so it stands in one place.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from .backbone import MEAN, SIZE, STD

_SRGB = ImageCms.createProfile("sRGB")


class TooLarge(Exception):
    """More pixels than any photo needs: a bomb, or a scan."""


MAX_PIXELS = 100_000_000


def opened(data: bytes) -> Image.Image:
    """The photo of `data`, upright, in sRGB, alpha composited on white."""
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise TooLarge(f"{image.width}x{image.height} pixels, at most {MAX_PIXELS}")
        return upright_rgb(image)


def load(path: Path) -> Image.Image:
    """The photo in a file, as `opened`."""
    return opened(path.read_bytes())


def upright_rgb(image: Image.Image) -> Image.Image:
    """Applies EXIF orientation and an RGB colour profile, puts alpha on white."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    if profile and image.mode == "RGB":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            done = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
            if done is not None:
                image = done
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile: take the numbers as sRGB, as browsers do
    return image.convert("RGB")


def stretch(image: Image.Image) -> NDArray[np.uint8]:
    """(224, 224, 3) uint8: the resize rule `stretch_bilinear`."""
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.uint8)


def normalize(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., H, W, 3) uint8 to (..., 3, H, W) f32, (x/255 - mean) / std."""
    scale = (1 / (255 * np.array(STD))).astype(np.float32)
    shift = (-np.array(MEAN) / np.array(STD)).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(pixels.astype(np.float32) * scale + shift, -1, -3))


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(224, 224, 3) to (32, 32, 3): means of 7x7 pixels, which a 7x7 convolution of stride 7 computes too."""
    blocks = pixels.reshape(32, 7, 32, 7, 3).astype(np.float32).mean((1, 3))
    return np.rint(blocks).astype(np.uint8)
