"""Draws the photo of the scaled decoder's tests, in every kind of JPEG that it reads and some that it leaves alone.

Run with Pillow and libjpeg-turbo's cjpeg on the path: python make.py. What the files show, the tests ask the whole decoder.
"""

import io
import math
import subprocess
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
# No whole number of blocks, of units of two blocks, or of cells of 2, 4 or 8 pixels.
SIZE = W, H = 205, 157
# A first scan of all means, bands in disorder, and each bit of its own.
DEEP = """0 1 2: 0 0 0 3; 0 1 2: 0 0 3 2; 0: 1 63 0 3; 0: 1 63 3 2; 1: 1 8 0 1; 1: 9 63 0 1; 2: 1 63 0 0;
0 1 2: 0 0 2 1; 1: 1 63 1 0; 0: 1 63 2 1; 0 1 2: 0 0 1 0; 0: 1 63 1 0;"""


def drawn():
    """A plain ground, a shaded shape with fine stripes, and sharp edges of color."""
    image = Image.new("RGB", SIZE, (250, 250, 248))
    pixels = image.load()
    for y in range(H):
        for x in range(W):
            inside = ((x - 90) / 70) ** 2 + ((y - 80) / 60) ** 2
            if inside < 1:
                shade = 1 - 0.6 * inside
                stripe = 18 * math.sin(x * 1.1) + 12 * math.sin(y * 0.7 + x * 0.2)
                pixels[x, y] = tuple(max(0, min(255, round(c * shade + stripe))) for c in (190, 60, 110))
    draw = ImageDraw.Draw(image)
    draw.rectangle((150, 20, 196, 70), fill=(20, 110, 60))
    draw.line((120, 150, 204, 90), fill=(30, 40, 160), width=5)
    return image


def cjpeg(image, *options):
    out = io.BytesIO()
    image.save(out, "PPM")
    return subprocess.run(["cjpeg", *options], input=out.getvalue(), check=True, capture_output=True).stdout


def unnamed(jpeg):
    """Components 1, 2 and 3 instead of R, G and B, and Adobe's marker to say what they are."""
    at = jpeg.index(b"\xff\xc0")
    head, frame, scan = jpeg[:at], jpeg[at:at + 19], jpeg[at + 19:]
    start = scan.index(b"\xff\xda")
    scan = scan[:start] + scan[start:start + 12].replace(b"R", b"\1").replace(b"G", b"\2").replace(b"B", b"\3") + scan[start + 12:]
    frame = frame.replace(b"R\x11", b"\1\x11").replace(b"G\x11", b"\2\x11").replace(b"B\x11", b"\3\x11")
    adobe = b"" if b"Adobe" in head else b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
    return head[:2] + adobe + head[2:] + frame + scan


def main():
    rgb = drawn()
    scans = HERE / "deep.scans"
    scans.write_text(DEEP)
    files = {
        "420": cjpeg(rgb, "-quality", "90"),
        "420_progressive": cjpeg(rgb, "-quality", "95", "-progressive"),
        "422": cjpeg(rgb, "-quality", "80", "-sample", "2x1"),
        "422_progressive": cjpeg(rgb, "-quality", "80", "-sample", "2x1", "-progressive", "-restart", "1"),
        "440": cjpeg(rgb, "-quality", "80", "-sample", "1x2", "-optimize"),
        "444": cjpeg(rgb, "-quality", "70", "-sample", "1x1", "-restart", "3B"),
        "444_progressive": cjpeg(rgb, "-quality", "98", "-sample", "1x1", "-progressive"),
        "deep": cjpeg(rgb, "-quality", "95", "-scans", scans),
        "gray": cjpeg(rgb.convert("L"), "-quality", "90"),
        "gray_progressive": cjpeg(rgb.convert("L"), "-quality", "90", "-progressive"),
        "restarts": cjpeg(rgb, "-quality", "85", "-restart", "2B"),
        "arithmetic": cjpeg(rgb, "-quality", "80", "-arithmetic"),
        "rgb": unnamed(cjpeg(rgb, "-quality", "90", "-rgb")),
        "third": cjpeg(rgb, "-quality", "80", "-sample", "3x1"),
    }
    scans.unlink()
    for name, data in files.items():
        (HERE / f"{name}.jpg").write_bytes(data)
        print(f"{name:16} {len(data):6} bytes")


main()
