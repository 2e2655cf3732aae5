"""AVIF files that lie: boxes that overlap, repeat or point nowhere, and AV1 that decoders die of.

The boxes are written by hand (ISO/IEC 23008-12); the one real picture is Pillow's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .containers import saved, scene

Case = tuple[bytes, str, str]
Extents = Callable[[int, int], list[tuple[int, int]]]


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def _full(kind: bytes, data: bytes, version: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24) + data)


def avif(stream: bytes, size: tuple[int, int] = (64, 48), extents: Extents | None = None, properties: bytes = b"",
         associations: bytes = b"", more: bytes = b"", references: bytes = b"") -> bytes:  # fmt: skip
    """One picture whose item lies where ``extents`` says, given where its stream really is."""
    head = _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")

    def meta(at: int) -> bytes:
        pieces = extents(at, len(stream)) if extents else [(at, len(stream))]
        where = struct.pack(">HHH", 1, 0, len(pieces)) + b"".join(struct.pack(">II", *piece) for piece in pieces)
        entries = [_full(b"infe", struct.pack(">HH", item, 0) + b"av01\0", 2) for item in (1, 2)]
        container = _box(b"ipco", _full(b"ispe", struct.pack(">II", *size)) + _box(b"av1C", b"\x81\0\x0c\0") + properties)
        joined = _full(b"ipma", struct.pack(">I", 1 + len(associations) // 4) + b"\0\1\2\1\x82" + associations)
        return _full(b"meta", b"".join((
            _full(b"hdlr", b"\0\0\0\0pict" + bytes(13)), _full(b"pitm", b"\0\1"),
            _full(b"iloc", b"\x44\0\0\1" + where), _full(b"iinf", b"\0\2" + b"".join(entries)),
            references, _box(b"iprp", container + joined + more),
        )))  # fmt: skip

    at = len(head) + len(meta(0)) + 8
    return head + meta(at) + _box(b"mdat", stream)


def cases() -> dict[str, Case]:
    """File name to (bytes, outcome, reason)."""
    real = saved(scene(), "AVIF", quality=80)
    start = real.rindex(b"mdat") + 4
    stream = real[start:]
    alpha = _box(b"auxC", bytes(4) + b"x" * 4000)
    many = b"".join(struct.pack(">HBB", 2, 1, 3) for _ in range(800))
    auxl = _full(b"iref", b"".join(_box(b"auxl", struct.pack(">HHH", 2, 1, 1)) for _ in range(800)))
    ipma = _full(b"ipma", struct.pack(">I", 1000) + b"\0\1\1\1" * 1000) * 3
    return {
        "avif_empty_metadata.avif": (
            avif(bytes.fromhex("2a03848000")), "rejected", "an empty T.35 unit, which some decoders die of"),
        "avif_empty_item.avif": (avif(b""), "rejected", "a picture of no bytes"),
        "avif_pieces_overlap.avif": (
            avif(stream, extents=lambda at, length: [(at, length)] * 1000), "rejected", "the same bytes a thousand times"),
        "avif_pieces_all_of_the_file.avif": (
            avif(stream, extents=lambda at, length: [(0, 0)] * 1000), "rejected", "every piece is the whole file"),
        "avif_too_many_pieces.avif": (
            avif(stream, extents=lambda at, length: [(at, 1)] * 2000), "rejected", "2,000 pieces"),
        "avif_outside.avif": (avif(stream, extents=lambda at, length: [(1 << 31, length)]), "rejected", "points past the end"),
        "avif_many_auxiliaries.avif": (
            avif(stream, properties=alpha, associations=many, references=auxl), "either", "800 auxiliaries that are no alpha"),
        "avif_many_properties.avif": (avif(stream, more=ipma), "either", "four tables of properties"),
        "avif_larger_inside.avif": (avif(stream, size=(24, 24)), "rejected", "says 24x24, holds 64x48"),
        "avif_bomb.avif": (avif(stream, size=(60_000, 60_000)), "rejected", "says 60,000x60,000"),
        "avif_two_frames.avif": (avif(stream + stream[2:]), "rejected", "two frames in one item"),
        "avif_noise.avif": (avif(stream[:12] + bytes(range(256))), "rejected", "an AV1 header, then noise"),
        "avif_box_of_7.avif": (real[:40].replace(real[32:36], b"\0\0\0\7", 1) + real[40:], "rejected", "a box of 7 bytes"),
    }  # fmt: skip
