"""Image containers written by hand, byte by byte.

Encoders refuse to write what a hostile sender writes: lying headers, endless frames, loops. These builders write
exactly what they are told.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """A small picture in which every corner differs: red, green, blue, yellow quarters around a grey center."""
    a = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    a[:h, :w], a[:h, w:], a[h:, :w], a[h:, w:] = (200, 30, 40), (40, 160, 60), (40, 70, 190), (230, 200, 50)
    a[height // 3 : height - height // 3, width // 3 : width - width // 3] = (128, 128, 128)
    return Image.fromarray(a)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes Pillow writes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(name: bytes, data: bytes, crc: int | None = None, length: int | None = None) -> bytes:
    """A PNG chunk; ``crc`` and ``length`` lie when given."""
    real = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + name + data + struct.pack(">I", real)


def png(width: int, height: int, raw: bytes, depth: int = 8, kind: int = 2, extra: bytes = b"", interlace: int = 0) -> bytes:
    """A PNG whose IHDR says what it is told and whose IDAT is ``raw`` deflated; ``extra`` goes before IDAT."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    return PNG_MAGIC + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(raw, 9)) + png_chunk(b"IEND", b"")


def png_rows(a: np.ndarray, filtered: bool = True) -> bytes:
    """Rows of an (H, W, C) array with filter byte 0."""
    return b"".join((b"\0" if filtered else b"") + row.tobytes() for row in a)


def gif_header(width: int, height: int, colors: bytes = b"\xff\xff\xff\xc8\x1e\x28") -> bytes:
    """GIF89a header, screen descriptor and a table of two colors."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + colors


def gif_frame(
    width: int, height: int, data: bytes = b"\x02\x02\x44\x01\x00", control: bytes = b"\x21\xf9\x04\x00\x02\x00\x00\x00"
) -> bytes:
    """One frame; the default data is a single pixel of color 0."""
    return control + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + data


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP container; ``size`` lies when given."""
    body = b"WEBP"
    for name, data in chunks:
        body += name + struct.pack("<I", len(data)) + data + (b"\0" if len(data) % 2 else b"")
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def webp_chunk(encoded: bytes) -> tuple[bytes, bytes]:
    """Name and data of the image chunk (VP8 or VP8L) of a simple WebP file."""
    size = struct.unpack("<I", encoded[16:20])[0]
    return encoded[12:16], encoded[20 : 20 + size]


def vp8x(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """Extended header; flags: 2 animation, 16 alpha."""
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def anmf(width: int, height: int, chunk: tuple[bytes, bytes], ms: int = 20) -> tuple[bytes, bytes]:
    """One animation frame at the origin."""
    name, data = chunk
    head = bytes(6) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + ms.to_bytes(3, "little") + b"\0"
    return b"ANMF", head + name + struct.pack("<I", len(data)) + data + (b"\0" if len(data) % 2 else b"")


def bmp(
    width: int,
    height: int,
    bits: int,
    data: bytes,
    palette: bytes = b"",
    compression: int = 0,
    masks: bytes = b"",
    used: int = 0,
) -> bytes:
    """BITMAPINFOHEADER file; a negative height is top-down."""
    offset = 14 + 40 + len(masks) + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 2835, 2835, used, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + masks + palette + data


def jpeg_segments(data: bytes) -> list[tuple[int, int, int]]:
    """(marker, start, end) of each segment up to and including SOS's header."""
    out, i = [], 2
    while i < len(data) - 4 and data[i] == 0xFF:
        marker = data[i + 1]
        size = struct.unpack(">H", data[i + 2 : i + 4])[0]
        out.append((marker, i, i + 2 + size))
        if marker == 0xDA:
            break
        i += 2 + size
    return out


def jpeg_insert(data: bytes, marker: int, payload: bytes) -> bytes:
    """A JPEG with one more segment, right behind SOI."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def jpeg_resized(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    for marker, start, _ in jpeg_segments(data):
        if marker in (0xC0, 0xC1, 0xC2):
            return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]
    raise ValueError("no frame header")


def exif(orientation: int, little: bool = True, kind: int = 3, count: int = 1) -> bytes:
    """APP1 payload with the orientation tag alone."""
    e = "<" if little else ">"
    head = (b"II*\0" if little else b"MM\0*") + struct.pack(e + "I", 8)
    value = struct.pack(e + "HH", orientation, 0)
    return b"Exif\0\0" + head + struct.pack(e + "HHHI", 1, 0x0112, kind, count) + value + struct.pack(e + "I", 0)


def icc_matrix(primaries: list[tuple[float, float, float]], gamma: float, name: str) -> bytes:
    """A version 2 RGB matrix profile: D50-adapted XYZ of red, green, blue and one gamma."""

    def s15(v: float) -> bytes:
        return struct.pack(">i", round(v * 65536))

    def xyz(v: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(s15(c) for c in v)

    text = name.encode("ascii")
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(8 + 3 + 67)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    right = b"text\0\0\0\0No copyright\0\0\0\0"
    tags = {
        b"desc": desc,
        b"cprt": right,
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        b"rXYZ": xyz(primaries[0]),
        b"gXYZ": xyz(primaries[1]),
        b"bXYZ": xyz(primaries[2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += (
        struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(4 + 4 + 4 + 4 + 8 + 4) + s15(0.9642) + s15(1.0) + s15(0.8249)
    )
    return head.ljust(128, b"\0") + table + body


# D50-adapted colorants as in the published profiles: Display P3 (SMPTE EG 432-1, D65) and Adobe RGB (1998).
DISPLAY_P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
ADOBE_RGB = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
