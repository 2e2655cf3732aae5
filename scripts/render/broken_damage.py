"""Damaged files: cut short, wrong checksums, missing or torn segments."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from .containers import (
    PNG_MAGIC,
    bmp,
    gif_frame,
    gif_header,
    jpeg_insert,
    jpeg_segments,
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


def cases() -> dict[str, Case]:
    """File name to (bytes, outcome, reason)."""
    return _truncated() | _jpeg() | _png() | _rest()


def _truncated() -> dict[str, Case]:
    image = scene()
    whole = {
        "jpg": saved(image, "JPEG", quality=80),
        "png": saved(image, "PNG"),
        "webp": saved(image, "WEBP", quality=80),
        "gif": saved(image, "GIF"),
        "bmp": saved(image, "BMP"),
    }
    progressive = saved(image, "JPEG", quality=80, progressive=True)
    out: dict[str, Case] = {}
    for kind, data in whole.items():
        for percent in (5, 50, 90):
            size = max(4, len(data) * percent // 100)
            out[f"truncated_{percent:02d}.{kind}"] = data[:size], "rejected", f"cut to {size} of {len(data)} bytes"
    out["truncated_magic.jpg"] = whole["jpg"][:3], "rejected", "three bytes of magic"
    out["truncated_magic.png"] = PNG_MAGIC, "rejected", "signature alone"
    out["truncated_progressive.jpg"] = progressive[: len(progressive) // 2], "rejected", "progressive scans cut in half"
    out["truncated_lossless.webp"] = saved(image, "WEBP", lossless=True)[:60], "rejected", "VP8L cut"
    return out


def _jpeg() -> dict[str, Case]:
    good = saved(scene(), "JPEG", quality=80)
    segments = jpeg_segments(good)

    def without(marker: int) -> bytes:
        out, last = good[:2], 2
        for m, start, end in segments:
            out += good[last:start] + (b"" if m == marker else good[start:end])
            last = end
        return out + good[last:]

    dht = next(s for s in segments if s[0] == 0xC4)
    sof = next(s for s in segments if s[0] == 0xC0)
    sos = next(s for s in segments if s[0] == 0xDA)
    huffman = bytearray(good)
    huffman[dht[1] + 5 : dht[1] + 21] = b"\xff" * 16
    zero_scan = bytearray(good)
    zero_scan[sos[1] + 4] = 0
    sampling = bytearray(good)
    sampling[sof[1] + 11] = 0
    precision = bytearray(good)
    precision[sof[1] + 4] = 77
    length = bytearray(good)
    length[sof[1] + 2 : sof[1] + 4] = b"\0\1"
    return {
        "jpeg_huffman_overfull.jpg": (bytes(huffman), "rejected", "code lengths that cannot be"),
        "jpeg_no_dht.jpg": (
            without(0xC4),
            "either",
            "no Huffman tables: the standard ones may be assumed, as motion JPEG does",
        ),
        "jpeg_no_dqt.jpg": (without(0xDB), "rejected", "no quantisation tables"),
        "jpeg_no_sof.jpg": (without(0xC0), "rejected", "no frame header"),
        "jpeg_no_sos.jpg": (good[: sos[1]] + b"\xff\xd9", "rejected", "no scan"),
        "jpeg_no_components.jpg": (bytes(zero_scan), "rejected", "scan of zero components"),
        "jpeg_sampling_zero.jpg": (bytes(sampling), "rejected", "sampling factor 0"),
        "jpeg_precision_77.jpg": (bytes(precision), "rejected", "77 bits a sample"),
        "jpeg_segment_length_1.jpg": (bytes(length), "rejected", "segment shorter than its own length field"),
        "jpeg_soi_eoi.jpg": (b"\xff\xd8\xff\xd9", "rejected", "start and end, nothing between"),
        "jpeg_soi_only_fill.jpg": (b"\xff\xd8" + b"\xff" * 4096, "rejected", "fill bytes without end"),
        "jpeg_double_sof.jpg": (
            good[: sof[2]] + good[sof[1] : sof[2]] + good[sof[2] :],
            "either",
            "two equal frame headers",
        ),
        "jpeg_arithmetic.jpg": (good.replace(b"\xff\xc0", b"\xff\xc9", 1), "rejected", "arithmetic coding is not read"),
        "jpeg_unknown_app.jpg": (
            jpeg_insert(good, 0xEB, b"nobody knows this" * 20),
            "accepted",
            "unknown APP11 is skipped",
        ),
        "jpeg_trailing_bytes.jpg": (good + b"\0" * 500, "accepted", "padding after the end, as phones write"),
        "jpeg_comment_long.jpg": (jpeg_insert(good, 0xFE, b"c" * 15000), "accepted", "a long comment is skipped"),
    }


def _png() -> dict[str, Case]:
    image = scene()
    a = np.asarray(image)
    h, w = a.shape[:2]
    rows = png_rows(a)
    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    packed = zlib.compress(rows, 9)
    ihdr, idat, end = png_chunk(b"IHDR", header), png_chunk(b"IDAT", packed), png_chunk(b"IEND", b"")
    bad_filter = b"".join(b"\x09" + row.tobytes() for row in a)
    return {
        "png_crc_ihdr.png": (
            PNG_MAGIC + png_chunk(b"IHDR", header, crc=1) + idat + end,
            "rejected",
            "wrong CRC in IHDR",
        ),
        "png_crc_idat.png": (
            PNG_MAGIC + ihdr + png_chunk(b"IDAT", packed, crc=1) + end,
            "rejected",
            "wrong CRC in IDAT",
        ),
        "png_adler.png": (
            PNG_MAGIC + ihdr + png_chunk(b"IDAT", packed[:-8] + b"\0" * 8) + end,
            "either",
            "end of the deflate stream torn: all rows are there, the checksum is not",
        ),
        "png_ihdr_taller.png": (png(w, h * 4, rows), "rejected", "IHDR claims four times the rows there are"),
        "png_ihdr_wider.png": (png(w * 4, h, rows), "rejected", "IHDR claims four times the columns there are"),
        "png_ihdr_zero.png": (png(0, 0, b""), "rejected", "zero dimensions"),
        "png_ihdr_zero_width.png": (png(0, h, rows), "rejected", "zero width"),
        "png_depth_3.png": (png(w, h, rows, depth=3), "rejected", "three bits a sample"),
        "png_color_type_5.png": (png(w, h, rows, kind=5), "rejected", "color type 5"),
        "png_filter_9.png": (png(w, h, bad_filter), "rejected", "row filter 9"),
        "png_no_idat.png": (PNG_MAGIC + ihdr + end, "rejected", "no data"),
        "png_no_plte.png": (png(w, h, png_rows(a[..., :1]), kind=3), "rejected", "palette picture without a palette"),
        "png_idat_first.png": (PNG_MAGIC + idat + ihdr + end, "rejected", "data before the header"),
        "png_chunk_huge.png": (
            PNG_MAGIC + ihdr + png_chunk(b"IDAT", packed, length=0x7FFFFFFF),
            "rejected",
            "chunk length 2 GiB",
        ),
        "png_chunk_negative.png": (
            PNG_MAGIC + ihdr + png_chunk(b"IDAT", packed, length=0xFFFFFFF0),
            "rejected",
            "chunk length over 2^31",
        ),
        "png_unknown_critical.png": (
            PNG_MAGIC + ihdr + png_chunk(b"ABCD", b"?") + idat + end,
            "either",
            "unknown critical chunk: refusing and skipping are both sound",
        ),
        "png_unknown_ancillary.png": (
            PNG_MAGIC + ihdr + png_chunk(b"vpAg", b"?" * 9) + idat + end,
            "accepted",
            "unknown ancillary chunk is skipped",
        ),
    }


def _rest() -> dict[str, Case]:
    image = scene()
    a = np.asarray(image)
    h, w = a.shape[:2]
    rgb = a[::-1, :, ::-1].tobytes()
    webp = saved(image, "WEBP", quality=80)
    vp8 = webp_chunk(webp)
    torn = bytearray(webp)
    torn[23:26] = b"\0\0\0"
    gif = saved(image, "GIF")
    return {
        "webp_no_start_code.webp": (bytes(torn), "rejected", "VP8 start code missing"),
        "webp_vp8x_alone.webp": (riff(vp8x(64, 48)), "rejected", "extended header, no picture"),
        "webp_size_mismatch.webp": (riff(vp8x(640, 480), vp8), "rejected", "canvas and picture disagree"),
        "webp_riff_short.webp": (riff(vp8, size=8), "either", "RIFF size ends before the picture"),
        "webp_animation_without_frames.webp": (riff(vp8x(64, 48, 2), (b"ANIM", bytes(6))), "rejected", "animation of no frames"),
        "gif_no_frame.gif": (gif_header(64, 48) + b";", "rejected", "no frame"),
        "gif_zero.gif": (gif_header(0, 0) + gif_frame(0, 0) + b";", "rejected", "zero dimensions"),
        "gif_lzw_code_12.gif": (
            gif_header(64, 48) + gif_frame(64, 48, b"\x0d\x02\xff\xff\x00") + b";",
            "rejected",
            "LZW code size 13",
        ),
        "gif_frame_outside.gif": (
            gif_header(32, 32) + gif_frame(4000, 4000) + b";",
            "rejected",
            "frame larger than the screen and cut",
        ),
        "gif_no_trailer.gif": (gif[:-1], "accepted", "only the trailer is missing"),
        "bmp_bits_7.bmp": (bmp(w, h, 7, rgb), "rejected", "seven bits a pixel"),
        "bmp_short_data.bmp": (bmp(w, h * 4, 24, rgb), "rejected", "fewer rows than promised"),
        "bmp_width_negative.bmp": (bmp(-w, h, 24, rgb), "rejected", "negative width"),
        "bmp_height_min.bmp": (bmp(w, -(2**31), 24, rgb), "rejected", "height -2^31, which has no positive twin"),
        "bmp_rle_overrun.bmp": (
            bmp(w, h, 8, b"\xff\x01" * 200 + b"\0\1", bytes(1024), 1),
            "either",
            "RLE runs past the row: refusing and clipping are both sound",
        ),
        "bmp_palette_huge.bmp": (bmp(w, h, 8, bytes(w * h), b"", 0, b"", 0x7FFFFFFF), "rejected", "2^31 palette entries"),
    }
