"""Bombs: few bytes that ask for much memory or time. All are refused from the header or within a small budget."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from .containers import (
    PNG_MAGIC,
    anmf,
    bmp,
    exif,
    gif_frame,
    gif_header,
    jpeg_insert,
    jpeg_resized,
    png,
    png_chunk,
    png_rows,
    riff,
    saved,
    scene,
    vp8x,
    webp_chunk,
)

Case = tuple[bytes, str, str]
_SIDE = 30000


def cases() -> dict[str, Case]:
    """File name to (bytes, outcome, reason)."""
    return _headers() | _inflating() | _frames() | _metadata() | _shapes()


def _headers() -> dict[str, Case]:
    image = scene()
    jpeg = saved(image, "JPEG", quality=60)
    progressive = saved(image, "JPEG", quality=60, progressive=True)
    lossy = webp_chunk(saved(image, "WEBP", quality=60))
    lossless = bytearray(webp_chunk(saved(image, "WEBP", lossless=True))[1])
    lossless[1:5] = struct.pack("<I", (16383 << 14) | 16383)
    big = f"{_SIDE}x{_SIDE} from a header"
    return {
        "bomb_30000.png": (png(_SIDE, _SIDE, b"\0" * 1000), "rejected", big),
        "bomb_30000_grey1.png": (
            png(_SIDE, _SIDE, b"\0" * 1000, depth=1, kind=0),
            "rejected",
            big + ", one bit a pixel",
        ),
        "bomb_30000_interlaced.png": (png(_SIDE, _SIDE, b"\0" * 1000, interlace=1), "rejected", big + ", interlaced"),
        "bomb_max.png": (
            png(2**31 - 1, 2**31 - 1, b""),
            "rejected",
            "2^31-1 each way: products overflow 64 bits with 4 channels",
        ),
        "bomb_30000.gif": (gif_header(_SIDE, _SIDE) + gif_frame(_SIDE, _SIDE) + b";", "rejected", big),
        "bomb_frame_65535.gif": (
            gif_header(64, 48) + gif_frame(65535, 65535) + b";",
            "rejected",
            "small screen, frame of 4.3 gigapixels",
        ),
        "bomb_30000.bmp": (bmp(_SIDE, _SIDE, 24, b"\0" * 64), "rejected", big),
        "bomb_rle.bmp": (bmp(_SIDE, _SIDE, 8, b"\xff\0" * 500, bytes(1024), 1), "rejected", big + ", run-length coded"),
        "bomb_max.bmp": (bmp(2**31 - 1, 2**31 - 1, 32, b""), "rejected", "2^31-1 each way"),
        "bomb_65500.jpg": (jpeg_resized(jpeg, 65500, 65500), "rejected", "65500x65500 from a frame header"),
        "bomb_65500_progressive.jpg": (
            jpeg_resized(progressive, 65500, 65500),
            "rejected",
            "65500x65500, progressive: all coefficients would be kept",
        ),
        "bomb_16383_lossless.webp": (riff((b"VP8L", bytes(lossless))), "rejected", "16384x16384 in VP8L"),
        "bomb_canvas_16m.webp": (riff(vp8x(2**24, 2**24), lossy), "rejected", "canvas of 2^24 each way"),
        "bomb_canvas_30000.webp": (
            riff(vp8x(_SIDE, _SIDE, 2), (b"ANIM", bytes(6)), anmf(64, 48, lossy)),
            "rejected",
            big + ", animated",
        ),
    }


def _inflating() -> dict[str, Case]:
    a = np.asarray(scene())
    rows = png_rows(a)
    bomb = zlib.compress(b"\0" * 12_000_000, 9)
    tail = b"profile\0\0" + bomb
    return {
        "zip_idat_excess.png": (png(64, 48, rows + b"\0" * 12_000_000), "either", "12 MB behind the last row: must not be kept"),
        "zip_iccp.png": (
            png(64, 48, rows, extra=png_chunk(b"iCCP", tail)),
            "either",
            "profile that inflates to 12 MB: must not be kept",
        ),
        "zip_ztxt.png": (
            png(64, 48, rows, extra=png_chunk(b"zTXt", tail)),
            "accepted",
            "text that inflates to 12 MB is never read",
        ),
        "zip_itxt.png": (
            png(64, 48, rows, extra=png_chunk(b"iTXt", b"k\0\1\0\0\0" + bomb)),
            "accepted",
            "text that inflates to 12 MB is never read",
        ),
        "zip_square_7000.png": (
            png(7200, 7000, b"\0" * (900 * 7000 + 7000), depth=1, kind=0),
            "rejected",
            "7200x7000 in 6 kB: 50.4 MP, just over the limit",
        ),
    }


def _frames() -> dict[str, Case]:
    small = scene(32, 32)
    chunk = webp_chunk(saved(small, "WEBP", lossless=True))
    # The shortest VP8L picture: 1x1, no transform, five one-symbol codes.
    dot = b"VP8L", b"\x2f\0\0\0\0\x88\x88\x08"
    first = anmf(32, 32, chunk)
    # A frame takes 40 bytes in WebP and 15 in GIF at the least: these two files are the largest of the set.
    dots = [anmf(1, 1, dot)] * 9999
    gif = saved(small, "GIF")
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return {
        "frames_10000.webp": (riff(vp8x(32, 32, 2), (b"ANIM", bytes(6)), first, *dots), "rejected", "10,000 frames"),
        "frames_10000.gif": (gif[:-1] + frame * 9999 + b";", "rejected", "10,000 frames"),
        "frames_endless_extension.gif": (
            gif_header(64, 48) + (b"\x21\xfe\x01c\x00" * 3000),
            "rejected",
            "comments without a frame",
        ),
    }


def _metadata() -> dict[str, Case]:
    jpeg = saved(scene(), "JPEG", quality=80)

    def with_exif(payload: bytes) -> bytes:
        return jpeg_insert(jpeg, 0xE1, payload)

    tiff = b"Exif\0\0II*\0\x08\0\0\0"
    loop = tiff + struct.pack("<HHHII", 1, 0x0132, 2, 0, 0) + struct.pack("<I", 8)
    sub = tiff + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 0)
    huge = tiff + struct.pack("<HHHII", 65535, 0x0112, 3, 0xFFFFFFFF, 0xFFFFFFF0) + struct.pack("<I", 0xFFFFFFFF)
    fake_icc = b"ICC_PROFILE\0\x01\x01" + struct.pack(">I", 0xFFFFFFFF) + b"junk" * 60
    missing = b"ICC_PROFILE\0\x02\x05" + b"part two of five" * 8
    tags = b"ICC_PROFILE\0\x01\x01" + struct.pack(">I", 132) + bytes(32) + b"acsp" + bytes(88) + struct.pack(">I", 0xFFFFFFFF)
    return {
        "exif_ifd_loop.jpg": (with_exif(loop), "accepted", "next IFD points to itself"),
        "exif_sub_loop.jpg": (with_exif(sub), "accepted", "sub IFD points to its parent"),
        "exif_count_huge.jpg": (with_exif(huge), "accepted", "65,535 entries, 2^32 values, offsets past the end"),
        "exif_orientation_9.jpg": (with_exif(exif(9)), "accepted", "orientation 9 does not exist: upright is assumed"),
        "exif_orientation_type.jpg": (with_exif(exif(6, kind=2, count=200)), "accepted", "orientation as text of 200 characters"),
        "exif_empty.jpg": (with_exif(b"Exif\0\0"), "accepted", "no TIFF header"),
        "exif_byte_order.jpg": (with_exif(b"Exif\0\0XX*\0" + bytes(20)), "accepted", "neither II nor MM"),
        "icc_size_lies.jpg": (jpeg_insert(jpeg, 0xE2, fake_icc), "accepted", "profile claims 4 GiB: ignored, sRGB assumed"),
        "icc_parts_missing.jpg": (jpeg_insert(jpeg, 0xE2, missing), "accepted", "part 2 of 5 alone: ignored"),
        "icc_tag_count.jpg": (jpeg_insert(jpeg, 0xE2, tags), "accepted", "2^32 tags: ignored"),
        "icc_garbage.png": (
            png(64, 48, png_rows(np.asarray(scene())), extra=png_chunk(b"iCCP", b"x\0\0not deflate")),
            "accepted",
            "profile is not deflate: ignored",
        ),
        "icc_empty.png": (PNG_MAGIC + _with_iccp(b""), "either", "empty iCCP: ignoring it is better"),
    }


def _with_iccp(data: bytes) -> bytes:
    whole = png(64, 48, png_rows(np.asarray(scene())), extra=png_chunk(b"iCCP", data))
    return whole[len(PNG_MAGIC) :]


def _shapes() -> dict[str, Case]:
    return {
        "tiny_1x1.png": (saved(scene().resize((1, 1)), "PNG"), "rejected", "1x1"),
        "tiny_8x8.jpg": (saved(scene().resize((8, 8)), "JPEG"), "rejected", "8x8"),
        "tiny_16x16.png": (saved(scene().resize((16, 16)), "PNG"), "rejected", "16x16: too small to tell anything"),
        "strip_1x2000.png": (saved(scene().resize((1, 2000)), "PNG"), "rejected", "1 pixel wide"),
        "strip_2000x1.png": (saved(scene().resize((2000, 1)), "PNG"), "rejected", "1 pixel high"),
        "strip_3x4000.jpg": (saved(scene().resize((3, 4000)), "JPEG", quality=40), "rejected", "3 pixels wide"),
    }
