"""Files that are not what they say: text, documents, other image formats, wrong names, polyglots."""

from __future__ import annotations

import gzip
import struct

import numpy as np

from .containers import PNG_MAGIC, gif_header, jpeg_insert, png, png_chunk, png_rows, saved, scene

Case = tuple[bytes, str, str]


def cases() -> dict[str, Case]:
    """File name to (bytes, outcome, reason)."""
    return _not_images() | _other_formats() | _wrong_names() | _polyglots()


def _not_images() -> dict[str, Case]:
    rng = np.random.default_rng(11)
    html = b"<!doctype html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    pdf += b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    return {
        "empty.jpg": (b"", "rejected", "0 bytes"),
        "one_byte.png": (b"\x89", "rejected", "1 byte"),
        "text.jpg": (b"A red dress, size M.\n" * 20, "rejected", "plain text"),
        "html.png": (html, "rejected", "an error page saved as a picture"),
        "json.webp": (b'{"error": "not found"}', "rejected", "JSON"),
        "svg.svg": (
            b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"><rect width="64" height="48" fill="red"/></svg>',
            "rejected",
            "SVG is not read",
        ),
        "svg_entities.svg": (
            b'<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;&b;</svg>',
            "rejected",
            "SVG with growing entities",
        ),
        "pdf.jpg": (pdf, "rejected", "a PDF document"),
        "zip.png": (b"PK\x05\x06" + bytes(18), "rejected", "an empty zip archive"),
        "gzip_of_png.png": (gzip.compress(saved(scene(), "PNG"), mtime=0), "rejected", "a PNG inside gzip"),
        "random.jpg": (rng.bytes(4096), "rejected", "random bytes"),
        "random_after_magic.jpg": (b"\xff\xd8\xff\xe0" + rng.bytes(4096), "rejected", "JPEG magic, then random bytes"),
        "random_after_magic.png": (PNG_MAGIC + rng.bytes(4096), "rejected", "PNG magic, then random bytes"),
        "random_after_magic.webp": (
            b"RIFF\x00\x10\x00\x00WEBPVP8 " + rng.bytes(4096),
            "rejected",
            "WebP magic, then random bytes",
        ),
        "random_after_magic.gif": (gif_header(64, 48) + rng.bytes(4096), "rejected", "GIF header, then random bytes"),
        "random_after_magic.bmp": (b"BM" + rng.bytes(4096), "rejected", "BMP magic, then random bytes"),
        "zeros.bmp": (bytes(4096), "rejected", "zero bytes"),
        "utf16_text.png": ("A red dress.".encode("utf-16"), "rejected", "UTF-16 text"),
        "wave.webp": (
            b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data\0\0\0\0",
            "rejected",
            "RIFF, but sound",
        ),
    }


def _ftyp(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + brand + b"mif1" + struct.pack(">I", 8) + b"meta"


def _other_formats() -> dict[str, Case]:
    image = scene()
    return {
        "tiff.tif": (saved(image, "TIFF"), "rejected", "TIFF is not read"),
        "tiff_loop.tif": (
            b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
            "rejected",
            "TIFF whose directory points to itself",
        ),
        "avif_stub.avif": (_ftyp(b"avif"), "rejected", "AVIF header, no picture"),
        "heic_stub.heic": (_ftyp(b"heic"), "rejected", "HEIC header, no picture"),
        "jxl_stub.jxl": (b"\xff\x0a\xfa\x7f", "rejected", "JPEG XL start"),
        "jp2_stub.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", "rejected", "JPEG 2000 signature"),
        "psd_stub.psd": (b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 48, 64, 8, 3), "rejected", "Photoshop header"),
        "ico.ico": (saved(image, "ICO", sizes=[(32, 32)]), "rejected", "icon files are not read"),
        "pnm.ppm": (saved(image, "PPM")[:3000], "rejected", "PPM is not read"),
        "qoi_stub.qoi": (b"qoif" + struct.pack(">IIBB", 64, 48, 3, 0), "rejected", "QOI header"),
    }


def _wrong_names() -> dict[str, Case]:
    image = scene()
    return {
        "name_png_is_jpeg.png": (saved(image, "JPEG", quality=85), "accepted", "a JPEG named .png: the bytes decide"),
        "name_jpg_is_webp.jpg": (saved(image, "WEBP", quality=85), "accepted", "a WebP named .jpg: the bytes decide"),
        "name_gif_is_png.gif": (saved(image, "PNG"), "accepted", "a PNG named .gif: the bytes decide"),
        "name_bin_is_bmp.bin": (saved(image, "BMP"), "accepted", "a BMP named .bin: the bytes decide"),
        "name_jpg_is_gif.jpg": (saved(image, "GIF"), "accepted", "a GIF named .jpg: the bytes decide"),
    }


def _polyglots() -> dict[str, Case]:
    image = scene()
    jpeg, picture = saved(image, "JPEG", quality=85), saved(image, "PNG")
    archive = b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)
    script = b"*/=1;alert(1);/*<script>alert(1)</script>"
    gif_js = bytearray(gif_header(0x2A2F, 48))
    a = np.asarray(image)
    return {
        "poly_jpeg_zip.jpg": (jpeg + archive, "accepted", "JPEG, then a zip archive"),
        "poly_jpeg_html.jpg": (jpeg_insert(jpeg, 0xFE, script), "accepted", "JPEG with a script in a comment"),
        "poly_png_php.png": (
            png(64, 48, png_rows(a), extra=png_chunk(b"tEXt", b"Comment\0<?php system($_GET[0]); ?>")),
            "accepted",
            "PNG with PHP in a text chunk",
        ),
        "poly_png_jpeg.png": (picture + jpeg, "accepted", "PNG, then a JPEG: the first counts"),
        "poly_gif_script.gif": (bytes(gif_js) + script, "rejected", "GIF header that is also JavaScript, no frame"),
        "poly_pdf_jpeg.pdf": (b"%PDF-1.4\n" + jpeg, "rejected", "PDF head before a JPEG"),
        "poly_bom_png.png": (
            b"\xef\xbb\xbf" + picture,
            "rejected",
            "byte order mark before a PNG: mangled by an editor",
        ),
        "poly_crlf_png.png": (
            picture.replace(b"\r\n", b"\n", 1),
            "rejected",
            "line ends converted: the signature shows it",
        ),
    }
