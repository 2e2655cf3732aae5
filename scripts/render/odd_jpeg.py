"""Unusual JPEG files: orientations, CMYK and YCCK, grey, progressive, odd sampling, restarts, profiles."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from .color import to_linear, to_srgb
from .containers import ADOBE_RGB, DISPLAY_P3, exif, icc_matrix, jpeg_insert, jpeg_segments, saved, scene

Case = tuple[bytes, Image.Image, int]
_T = Image.Transpose
# How the stored picture is made from the upright one, for EXIF orientation 1 to 8 (the inverse of what a viewer does).
_STORED = {
    1: None,
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_90,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_270,
}


def cases() -> dict[str, Case]:
    """File name to (bytes, upright truth, tolerance of a channel)."""
    image = scene()
    out: dict[str, Case] = {}
    for n, how in _STORED.items():
        stored = image if how is None else image.transpose(how)
        data = saved(stored, "JPEG", quality=92, subsampling=0)
        out[f"orientation_{n}.jpg"] = jpeg_insert(data, 0xE1, exif(n)), image, 6
    six = saved(image.transpose(_STORED[6]), "JPEG", quality=92, subsampling=0)  # type: ignore[arg-type]
    out["orientation_6_big_endian.jpg"] = jpeg_insert(six, 0xE1, exif(6, little=False)), image, 6
    out["orientation_6_progressive.jpg"] = (
        jpeg_insert(saved(image.transpose(_T.ROTATE_90), "JPEG", quality=92, progressive=True), 0xE1, exif(6)),
        image,
        10,
    )
    return out | _plain(image) | _four(image) | _profiles(image)


def _plain(image: Image.Image) -> dict[str, Case]:
    grey = image.convert("L")
    plain = saved(image, "JPEG", quality=92)
    odd_size = scene(67, 51)
    return {
        "grey.jpg": (saved(grey, "JPEG", quality=92), grey.convert("RGB"), 4),
        "grey_progressive.jpg": (saved(grey, "JPEG", quality=92, progressive=True), grey.convert("RGB"), 4),
        "progressive.jpg": (saved(image, "JPEG", quality=92, progressive=True), image, 10),
        "sampling_444.jpg": (saved(image, "JPEG", quality=92, subsampling=0), image, 6),
        "sampling_422.jpg": (saved(image, "JPEG", quality=92, subsampling=1), image, 10),
        "sampling_420_odd.jpg": (saved(odd_size, "JPEG", quality=92, subsampling=2), odd_size, 10),
        "sampling_411.jpg": (saved(image, "JPEG", quality=92, subsampling="4:1:1"), image, 12),
        "restart.jpg": (saved(image, "JPEG", quality=92, restart_marker_blocks=2), image, 10),
        "restart_rows.jpg": (saved(image, "JPEG", quality=92, restart_marker_rows=1), image, 10),
        "rgb_stored.jpg": (saved(image, "JPEG", quality=92, keep_rgb=True), image, 6),
        "no_jfif.jpg": (_without_app0(plain), image, 10),
        "low_quality.jpg": (saved(image, "JPEG", quality=15), image, 30),
        "optimized.jpg": (saved(image, "JPEG", quality=92, optimize=True), image, 10),
        "fill_bytes.jpg": (plain[:2] + b"\xff\xff\xff" + plain[2:], image, 10),
    }


def _without_app0(data: bytes) -> bytes:
    marker, start, end = jpeg_segments(data)[0]
    return data[:start] + data[end:] if marker == 0xE0 else data


def _four(image: Image.Image) -> dict[str, Case]:
    """Four channels. With Adobe's marker the inks are stored inverted (255 is none), as Photoshop does.

    The truth is the plain formula RGB = (255 - ink) * (255 - black) / 255, which decoders without an ink profile use.
    """
    a = 255 - np.asarray(image)
    k = (a.min(axis=2) // 2).astype(np.uint8)
    rest = np.round((a.astype(float) - k[..., None]) * 255 / (255 - k[..., None])).clip(0, 255).astype(np.uint8)
    inks = np.dstack([rest, k])
    out: dict[str, Case] = {}
    # Pillow's encoder inverts CMYK and writes the Adobe marker with transform 0.
    out["cmyk_adobe.jpg"] = saved(_cmyk(inks), "JPEG", quality=95, subsampling=0), image, 6
    # YCCK: the marker's transform is defined on RGB = 255 - stored, and stored is 255 - ink, so YCbCr of the inks.
    inverted = 255 - inks
    ycc = np.asarray(Image.fromarray(np.ascontiguousarray(inks[..., :3])).convert("YCbCr"))
    # The encoder inverts once more, so it is fed the complement of what the file must hold.
    raw = saved(_cmyk(255 - np.dstack([ycc, inverted[..., 3]])), "JPEG", quality=95, subsampling=0)
    out["ycck_adobe.jpg"] = _with_transform(raw, 2), image, 8
    return out


def _cmyk(inks: np.ndarray) -> Image.Image:
    h, w = inks.shape[:2]
    return Image.frombytes("CMYK", (w, h), np.ascontiguousarray(inks).tobytes())


def _with_transform(data: bytes, transform: int) -> bytes:
    at = data.index(b"Adobe")
    return data[: at + 11] + bytes([transform]) + data[at + 12 :]


def _convert(image: Image.Image, primaries: list[tuple[float, float, float]], gamma: float) -> Image.Image:
    """What a color-managed reader shows for bytes in a matrix space: to XYZ (D50), then to sRGB."""
    srgb_d50 = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]).T
    matrix = np.linalg.inv(srgb_d50) @ np.array(primaries).T
    linear = (np.asarray(image) / 255.0) ** gamma
    return Image.fromarray(np.round(to_srgb(linear @ matrix.T) * 255).astype(np.uint8))


def _profiles(image: Image.Image) -> dict[str, Case]:
    out: dict[str, Case] = {}
    # Muted, so that the colors of the wide spaces still lie inside sRGB and clipping plays no part.
    muted = Image.fromarray((np.asarray(image) * 0.5 + 64).astype(np.uint8))
    for name, primaries, gamma in (("display_p3", DISPLAY_P3, 2.2), ("adobe_rgb", ADOBE_RGB, 2.19921875)):
        profile = icc_matrix(primaries, round(gamma * 256) / 256, name)
        truth = _convert(muted, primaries, round(gamma * 256) / 256)
        out[f"icc_{name}.jpg"] = saved(muted, "JPEG", quality=95, subsampling=0, icc_profile=profile), truth, 6
        out[f"icc_{name}.png"] = saved(muted, "PNG", icc_profile=profile), truth, 3
        out[f"icc_{name}.webp"] = saved(muted, "WEBP", lossless=True, icc_profile=profile), truth, 3
    profile = icc_matrix(ADOBE_RGB, 2.19921875, "in parts")
    half = len(profile) // 2
    parts = saved(muted, "JPEG", quality=95, subsampling=0)
    for i, part in ((2, profile[half:]), (1, profile[:half])):
        parts = jpeg_insert(parts, 0xE2, b"ICC_PROFILE\0" + struct.pack("BB", i, 2) + part)
    out["icc_two_parts.jpg"] = parts, _convert(muted, ADOBE_RGB, 2.19921875), 6
    linear = Image.fromarray(np.round(to_linear(np.asarray(image) / 255.0) * 255).astype(np.uint8))
    srgb_d50 = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
    out["icc_linear.png"] = (
        saved(linear, "PNG", icc_profile=icc_matrix(srgb_d50, 1.0, "linear")),
        _convert(linear, srgb_d50, 1.0),
        4,
    )
    return out
