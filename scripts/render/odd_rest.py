"""Unusual PNG, WebP, GIF and BMP files: palettes, depths, alpha, interlace, gamma, animation, run lengths."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from .containers import anmf, bmp, png, png_chunk, png_rows, riff, saved, scene, vp8x, webp_chunk

Case = tuple[bytes, Image.Image, int]
# Adam7: first column, first row, column step, row step of each pass (PNG specification, section 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def cases() -> dict[str, Case]:
    """File name to (bytes, truth, tolerance of a channel)."""
    image = scene()
    return _png(image) | _webp(image) | _gif(image) | _bmp(image)


def _with_alpha(image: Image.Image, low: int = 0) -> Image.Image:
    """The left half opaque, the upper right ``low``, the lower right half transparent."""
    out = image.convert("RGBA")
    a = np.array(out)
    h, w = a.shape[:2]
    a[: h // 2, w // 2 :, 3] = low
    a[h // 2 :, w // 2 :, 3] = 128 if low != 255 else 255
    return Image.fromarray(a)


def _png(image: Image.Image) -> dict[str, Case]:
    a = np.asarray(image)
    h, w = a.shape[:2]
    alpha = _with_alpha(image)
    palette = image.quantize(8, dither=Image.Dither.NONE)
    index = np.asarray(palette)
    see = int(index[h // 6, w - 1 - w // 6])
    through = np.array(image.convert("RGBA"))
    through[index == see, 3] = 0
    deep = (a.astype(">u2") * 257).astype(">u2")
    grey = np.asarray(image.convert("L"))
    grey_alpha = np.dstack([grey, np.asarray(alpha)[..., 3]])
    truth_ga = Image.fromarray(np.dstack([grey, grey, grey, grey_alpha[..., 1]]))
    bits = (np.add.outer(np.arange(h) // (h // 2), np.arange(w) // (w // 2)) % 2).astype(np.uint8)
    truth_bits = Image.fromarray(np.repeat(bits[..., None] * 255, 3, axis=2))
    passes = b"".join(png_rows(a[y0::dy, x0::dx]) for x0, y0, dx, dy in _ADAM7)
    # An image that names sRGB's gamma is still sRGB: 45455 is 1/2.2, what every editor writes beside it.
    gamma = png_chunk(b"gAMA", struct.pack(">I", 45455))
    keyed = np.array(image.convert("RGBA"))
    keyed[(a == a[h // 6, w // 6]).all(axis=2), 3] = 0
    trns = png_chunk(b"tRNS", struct.pack(">HHH", *(int(v) for v in a[h // 6, w // 6])))
    return {
        "alpha.png": (saved(alpha, "PNG"), alpha, 2),
        "alpha_16bit.png": (
            png(w, h, png_rows((np.asarray(alpha).astype(">u2") * 257).astype(">u2")), depth=16, kind=6),
            alpha,
            2,
        ),
        "alpha_opaque.png": (saved(_with_alpha(image, 255), "PNG"), image, 1),
        "palette.png": (saved(palette, "PNG"), palette.convert("RGB"), 1),
        "palette_trns.png": (saved(palette, "PNG", transparency=see), Image.fromarray(through), 2),
        "rgb_trns.png": (png(w, h, png_rows(a), extra=trns), Image.fromarray(keyed), 2),
        "rgb_16bit.png": (png(w, h, png_rows(deep), depth=16), image, 1),
        "grey_16bit.png": (
            png(w, h, png_rows((grey.astype(">u2") * 257).astype(">u2")[..., None]), depth=16, kind=0),
            Image.fromarray(grey).convert("RGB"),
            1,
        ),
        "grey_alpha.png": (png(w, h, png_rows(grey_alpha), kind=4), truth_ga, 2),
        "grey_1bit.png": (png(w, h, png_rows(np.packbits(bits, axis=1)[..., None]), depth=1, kind=0), truth_bits, 0),
        "interlaced.png": (png(w, h, passes, interlace=1), image, 0),
        "gama.png": (png(w, h, png_rows(a), extra=gamma), image, 2),
        "srgb_chunk.png": (png(w, h, png_rows(a), extra=png_chunk(b"sRGB", b"\0") + gamma), image, 0),
        "exif_orientation_6.png": (
            png(w, h, png_rows(a), extra=_png_exif(6)),
            image.transpose(Image.Transpose.ROTATE_270),
            1,
        ),
    }


def _png_exif(orientation: int) -> bytes:
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return png_chunk(b"eXIf", tiff)


def _webp(image: Image.Image) -> dict[str, Case]:
    alpha = _with_alpha(image)
    w, h = image.size
    other = Image.new("RGB", image.size, (10, 10, 10))
    first, second = (webp_chunk(saved(i, "WEBP", lossless=True)) for i in (image, other))
    frames = riff(vp8x(w, h, 2), (b"ANIM", b"\xff\xff\xff\xff\0\0"), anmf(w, h, first), anmf(w, h, second))
    return {
        "lossy.webp": (saved(image, "WEBP", quality=92), image, 14),
        "lossless.webp": (saved(image, "WEBP", lossless=True), image, 0),
        "alpha_lossless.webp": (saved(alpha, "WEBP", lossless=True), alpha, 2),
        "alpha_lossy.webp": (saved(alpha, "WEBP", quality=92), alpha, 16),
        "animated.webp": (frames, image, 2),
    }


def _gif(image: Image.Image) -> dict[str, Case]:
    few = image.quantize(8, dither=Image.Dither.NONE)
    index = np.asarray(few)
    h, w = index.shape
    see = int(index[h - 1 - h // 6, w // 6])
    through = np.array(image.convert("RGBA"))
    through[index == see, 3] = 0
    other = Image.new("P", image.size)
    other.putpalette([10, 10, 10])
    plain = few.convert("RGB")
    return {
        "plain.gif": (saved(few, "GIF"), plain, 1),
        "interlaced.gif": (saved(few, "GIF", interlace=1), plain, 1),
        "transparent.gif": (saved(few, "GIF", transparency=see), Image.fromarray(through), 2),
        "animated.gif": (saved(few, "GIF", save_all=True, append_images=[other], duration=50, loop=0), plain, 1),
        "comment.gif": (_gif_comment(saved(few, "GIF")), plain, 1),
    }


def _gif_comment(data: bytes) -> bytes:
    """A comment extension between the color table and the first frame."""
    size = 13 + 3 * (2 << (data[10] & 7))
    return data[:size] + b"\x21\xfe\x05hello\x00" + data[size:]


def _rows(a: np.ndarray) -> bytes:
    """BMP rows, bottom-up, each padded to four bytes."""
    width = a[0].nbytes
    return b"".join(row.tobytes() + bytes(-width % 4) for row in a[::-1])


def _rle8(index: np.ndarray) -> bytes:
    """Run-length coding of BMP, 8 bits: (count, value) pairs, 0 0 ends a row, 0 1 the picture."""
    out = bytearray()
    for row in index[::-1]:
        start = 0
        for i in range(1, len(row) + 1):
            if i == len(row) or row[i] != row[start] or i - start == 255:
                out += bytes([i - start, int(row[start])])
                start = i
        out += b"\0\0"
    return bytes(out) + b"\0\1"


def _rle4(index: np.ndarray) -> bytes:
    out = bytearray()
    for row in index[::-1]:
        start = 0
        for i in range(1, len(row) + 1):
            if i == len(row) or row[i] != row[start] or i - start == 255:
                out += bytes([i - start, int(row[start]) * 17])
                start = i
        out += b"\0\0"
    return bytes(out) + b"\0\1"


def _bmp(image: Image.Image) -> dict[str, Case]:
    image = scene(63, 45)  # rows that need padding
    a = np.asarray(image)
    h, w = a.shape[:2]
    table = sorted({tuple(int(c) for c in p) for p in a.reshape(-1, 3)})
    index = np.zeros((h, w), np.uint8)
    for i, color in enumerate(table):
        index[(a == color).all(axis=2)] = i
    colors = b"".join(bytes([b, g, r, 0]) for r, g, b in table)
    bgr = np.ascontiguousarray(a[..., ::-1])
    bgra = np.dstack([bgr, np.full((h, w), 255, np.uint8)])
    five = (
        ((a[..., 0].astype("<u2") >> 3) << 10) | ((a[..., 1].astype("<u2") >> 3) << 5) | (a[..., 2].astype("<u2") >> 3)
    ).astype("<u2")
    six = (
        ((a[..., 0].astype("<u2") >> 3) << 11) | ((a[..., 1].astype("<u2") >> 2) << 5) | (a[..., 2].astype("<u2") >> 3)
    ).astype("<u2")
    nibbles = index if w % 2 == 0 else np.pad(index, ((0, 0), (0, 1)))
    four = (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]
    ones = (np.add.outer(np.arange(h) // (h // 2 + 1), np.arange(w) // (w // 2 + 1)) % 2).astype(np.uint8)
    truth_ones = Image.fromarray(np.repeat(ones[..., None] * 255, 3, axis=2))
    padded = colors.ljust(64, b"\0")
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    return {
        "bits_1.bmp": (bmp(w, h, 1, _rows(np.packbits(ones, axis=1)), b"\0\0\0\0\xff\xff\xff\0"), truth_ones, 0),
        "bits_4.bmp": (bmp(w, h, 4, _rows(four), padded), image, 0),
        "bits_8.bmp": (bmp(w, h, 8, _rows(index), colors.ljust(1024, b"\0")), image, 0),
        "bits_8_short_palette.bmp": (bmp(w, h, 8, _rows(index), colors, used=len(table)), image, 0),
        "bits_16_555.bmp": (bmp(w, h, 16, _rows(five)), image, 8),
        "bits_16_565.bmp": (bmp(w, h, 16, _rows(six), masks=masks, compression=3), image, 8),
        "bits_24.bmp": (bmp(w, h, 24, _rows(bgr)), image, 0),
        "bits_32.bmp": (bmp(w, h, 32, _rows(bgra)), image, 0),
        "top_down.bmp": (bmp(w, -h, 24, _rows(bgr[::-1])), image, 0),
        "rle8.bmp": (bmp(w, h, 8, _rle8(index), colors.ljust(1024, b"\0"), compression=1), image, 0),
        "rle4.bmp": (bmp(w, h, 4, _rle4(index), padded, compression=2), image, 0),
    }
