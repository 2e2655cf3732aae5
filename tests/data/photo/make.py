"""Draws the photos of the decoder's tests: four quadrants of known colors in every container and color space.

Run with Pillow and avifenc (libavif) on the path: python make.py. Prints what Little CMS and libjpeg make of the color-managed ones, which is the
truth that src/photo/tests.rs holds our own decoder to.
"""

import io
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

HERE = Path(__file__).parent
SIZE = W, H = 64, 48
COLORS = [(200, 40, 30), (30, 150, 60), (40, 60, 190), (120, 120, 120)]
CENTERS = [(16, 12), (48, 12), (16, 36), (48, 36)]


def quadrants(mode, colors):
    image = Image.new(mode, SIZE)
    for i, color in enumerate(colors):
        image.paste(color, (i % 2 * W // 2, i // 2 * H // 2, i % 2 * W // 2 + W // 2, i // 2 * H // 2 + H // 2))
    return image


def profile(space, pcs, tags, kind=b"mntr"):
    head, body, offset = [], b"", 128 + 4 + 12 * len(tags)
    for name, data in tags:
        data += b"\0" * (-len(data) % 4)
        head.append(struct.pack(">4sII", name, offset + len(body), len(data)))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s12s4s4s4s4s4sQI3i", size, b"\0" * 4, 0x02400000, kind, space, pcs,
                         struct.pack(">6H", 2026, 1, 1, 0, 0, 0), b"acsp", b"\0" * 4, b"\0" * 4, b"\0" * 4, b"\0" * 4,
                         0, 0, 63190, 65536, 54061).ljust(128, b"\0")
    return header + struct.pack(">I", len(tags)) + b"".join(head) + body


def text(value):
    return b"text\0\0\0\0" + value + b"\0"


def desc(value):
    return b"desc\0\0\0\0" + struct.pack(">I", len(value) + 1) + value + b"\0" + b"\0" * 78


def xyz(*values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


COMMON = [(b"desc", desc(b"test")), (b"cprt", text(b"none")), (b"wtpt", xyz(0.9642, 1, 0.8249))]


def adobe_rgb():
    """Adobe RGB (1998): primaries adapted to D50, gamma 563/256."""
    curves = [(b"rTRC", gamma(563 / 256)), (b"gTRC", gamma(563 / 256)), (b"bTRC", gamma(563 / 256))]
    return profile(b"RGB ", b"XYZ ", COMMON + [
        (b"rXYZ", xyz(0.60974, 0.31111, 0.01947)), (b"gXYZ", xyz(0.20528, 0.62567, 0.06087)),
        (b"bXYZ", xyz(0.14919, 0.06322, 0.74457))] + curves)


def linear_gray():
    return profile(b"GRAY", b"XYZ ", COMMON + [(b"kTRC", gamma(1.0))])


def press():
    """A press with weak, dirty inks: a table of Lab (lut8, 3 points an axis)."""
    table = b""
    lab = ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    for i in range(81):
        c, m, y, k = (i // 27 / 2, i // 9 % 3 / 2, i // 3 % 3 / 2, i % 3 / 2)
        rgb = [round(255 * (1 - 0.7 * ink) * (1 - 0.15 * (c + m + y) / 3) * (1 - 0.9 * k)) for ink in (c, m, y)]
        pixel = ImageCms.applyTransform(Image.new("RGB", (1, 1), tuple(rgb)), to_lab).tobytes()
        # Pillow's LAB holds a and b signed, lut8 holds them offset by 128.
        table += bytes([pixel[0], pixel[1] ^ 128, pixel[2] ^ 128])
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 3, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut += ramp * 4 + table + ramp * 3
    return profile(b"CMYK", b"Lab ", COMMON + [(b"A2B0", lut)], b"prtr")


def png(width, height, depth, color, rows, interlace=0, chunks=()):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    extra = b"".join(chunk(*c) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def adam7(image):
    rows = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for y in range(y0, H, dy):
            rows += b"\0" + b"".join(bytes(image.getpixel((x, y))) for x in range(x0, W, dx))
    return rows


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def avifenc(image, *options):
    """AVIF as Pillow cannot write it: depths, monochrome, identity matrix, turns."""
    with tempfile.TemporaryDirectory() as folder:
        image.save(f"{folder}/in.png")
        subprocess.run(["avifenc", "-j", "1", *options, f"{folder}/in.png", f"{folder}/out.avif"], check=True, capture_output=True)
        return Path(folder, "out.avif").read_bytes()


def without_adobe(jpeg):
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2:at + 4])[0]:]


def inks(rgb):
    k = 255 - max(rgb)
    return tuple(round(255 * (255 - v - k) / (255 - k)) for v in rgb) + (k,)


def main():
    rgb = quadrants("RGB", COLORS)
    cmyk = quadrants("CMYK", [inks(c) for c in COLORS])
    gray = quadrants("L", [30, 90, 160, 220])
    fine = dict(quality=95, subsampling=0)
    files = {
        "base.jpg": saved(rgb, "JPEG", **fine),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True, quality=95),
        "gray.jpg": saved(gray, "JPEG", quality=95),
        "cmyk.jpg": saved(cmyk, "JPEG", **fine),
        "cmyk_plain.jpg": without_adobe(saved(cmyk.point(lambda v: 255 - v), "JPEG", **fine)),
        "cmyk_icc.jpg": saved(cmyk, "JPEG", icc_profile=press(), **fine),
        "adobe_rgb.jpg": saved(rgb, "JPEG", icc_profile=adobe_rgb(), **fine),
        "adobe_rgb_gray.jpg": saved(gray, "JPEG", icc_profile=adobe_rgb(), quality=95),
        "bad_icc.jpg": saved(rgb, "JPEG", icc_profile=adobe_rgb()[:150] + b"\xff" * 300, **fine),
        "linear_gray.png": saved(gray, "PNG", icc_profile=linear_gray()),
        "palette.png": saved(rgb.quantize(4), "PNG", transparency=0),
        "lossy.webp": saved(rgb, "WEBP", quality=95),
        "lossless.webp": saved(rgb, "WEBP", lossless=True),
        "alpha.webp": saved(quadrants("RGBA", [c + (a,) for c, a in zip(COLORS, (255, 128, 0, 255))]), "WEBP", quality=95),
        "alpha.png": saved(quadrants("RGBA", [c + (a,) for c, a in zip(COLORS, (255, 128, 0, 255))]), "PNG"),
        "gray_alpha.png": saved(quadrants("LA", [(30, 255), (90, 128), (160, 0), (220, 255)]), "PNG"),
        "animated.webp": saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)] * 2, lossless=True),
        "animated.gif": saved(rgb, "GIF", save_all=True, append_images=[rgb.rotate(180)] * 2),
        "base.bmp": saved(rgb, "BMP"),
    }
    rgba = quadrants("RGBA", [c + (a,) for c, a in zip(COLORS, (255, 128, 0, 255))])
    near = ("--min", "0", "--max", "4")
    files |= {
        "yuv420.avif": saved(rgb, "AVIF", quality=95, subsampling="4:2:0", range="limited"),
        "odd_size.avif": saved(rgb.crop((0, 0, 63, 45)), "AVIF", quality=95, subsampling="4:2:0"),
        "yuv444.avif": saved(rgb, "AVIF", quality=95, subsampling="4:4:4", range="full"),
        "alpha.avif": saved(rgba, "AVIF", quality=95, subsampling="4:4:4"),
        "adobe_rgb.avif": saved(rgb, "AVIF", quality=95, subsampling="4:4:4", icc_profile=adobe_rgb()),
        "yuv422.avif": avifenc(rgb, *near, "-y", "422", "-d", "12"),
        "ten_bit.avif": avifenc(rgb, *near, "-y", "444", "-d", "10", "--cicp", "1/13/9"),
        "lossless.avif": avifenc(rgb, "-l"),
        "gray.avif": avifenc(gray, *near, "-y", "400"),
        "premultiplied.avif": avifenc(rgba, *near, "-y", "444", "--premultiply"),
        "p3.avif": avifenc(rgb, "-l", "-y", "444", "--cicp", "12/13/0"),
    }
    for angle in range(4):
        for mirror in (None, 0, 1):
            turn = [] if angle == 0 else ["--irot", str(angle)]
            turn += [] if mirror is None else ["--imir", str(mirror)]
            if turn:
                files[f"turned_{angle}{'' if mirror is None else 'tl'[mirror]}.avif"] = avifenc(rgb, *near, "-y", "444", *turn)
    files["pq.avif"] = avifenc(rgb, *near, "-d", "10", "--cicp", "9/16/9")
    # Pillow writes no YCCK: its inks as RGB through YCbCr, black beside them, all as the CMYK that Pillow inverts.
    c, m, y, k = cmyk.split()
    ycc = Image.merge("RGB", (c, m, y)).convert("YCbCr").split()
    ycck = saved(Image.merge("CMYK", [p.point(lambda v: 255 - v) for p in ycc] + [k]), "JPEG", **fine)
    at = ycck.index(b"Adobe") + 11
    files["ycck.jpg"] = ycck[:at] + b"\2" + ycck[at + 1:]
    files["rgb16.png"] = png(W, H, 16, 2, b"".join(
        b"\0" + b"".join(struct.pack(">3H", *(v * 257 + 100 for v in rgb.getpixel((x, y)))) for x in range(W)) for y in range(H)))
    files["interlaced.png"] = png(W, H, 8, 2, adam7(rgb), 1)
    for name, data in files.items():
        (HERE / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        image = ImageOps.exif_transpose(image)  # Pillow turns irot and imir into an EXIF orientation
        icc = image.info.get("icc_profile")
        if icc and name != "bad_icc.jpg":
            if name == "adobe_rgb_gray.jpg":
                image = image.convert("RGB")
            image = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB")
        image = image.convert("RGBA") if image.mode in ("P", "LA", "RGBA") else image.convert("RGB")
        points = [(x * image.width // W, y * image.height // H) for x, y in CENTERS]
        print(f"{name:20} {len(data):6} bytes", image.size, [image.getpixel(p) for p in points])


main()
