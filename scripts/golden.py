"""Golden cases: drawn pictures with what they must become, for the bundle and for the service's tests.

Why drawn: no photo may be redistributed, and a drawing of rectangles and gradients is small,
deterministic and still has edges, textures and colours for every stage to get wrong.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageDraw

from . import photos

TOLERANCE = {"embedding_cosine": 0.9999, "logits_abs": 0.05}
#: Of the int8 file: where a value lies between two levels, kernels disagree and the step goes on through the layers. ONNX
#: Runtime with and without its fused kernels differs by 0.00025 and 0.11, as it does on pictures that differ by one level.
TOLERANCE_INT8 = {"embedding_cosine": 0.999, "logits_abs": 0.3}
#: What the service's resampler may differ by: one level of 255 in a few places.
PIXEL_TOLERANCE = {"value_abs": 0.04, "channel_mean_abs": 0.004}
SAMPLES = 200


def gradient(width: int, height: int, start: tuple[int, int, int], end: tuple[int, int, int]) -> Image.Image:
    """A diagonal gradient."""
    t = (np.linspace(0, 1, width)[None, :] + np.linspace(0, 1, height)[:, None]) / 2
    pixels = np.array(start) * (1 - t[..., None]) + np.array(end) * t[..., None]
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def shirt(width: int, height: int) -> Image.Image:
    """A striped T-shirt on white."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    w, h = width, height
    right = [(0.7, 0.1), (0.95, 0.3), (0.85, 0.42), (0.75, 0.35), (0.75, 0.9)]
    left = [(1 - x, y) for x, y in reversed(right)]
    outline = [(x * w, y * h) for x, y in [*right, *left]]
    draw.polygon(outline, fill=(32, 60, 140))
    for i in range(6):
        y = (0.4 + 0.08 * i) * h
        draw.rectangle((0.26 * w, y, 0.74 * w, y + 0.03 * h), fill=(236, 236, 228))
    draw.ellipse((0.4 * w, 0.03 * h, 0.6 * w, 0.17 * h), fill=(255, 255, 255))
    return image


def clock(width: int, height: int) -> Image.Image:
    """A round clock on a grey gradient."""
    image = gradient(width, height, (235, 235, 240), (170, 175, 185))
    draw = ImageDraw.Draw(image)
    r = 0.42 * min(width, height)
    cx, cy = width / 2, height / 2
    draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(250, 250, 250), outline=(40, 30, 20), width=5)
    for k in range(12):
        a = np.pi * k / 6
        draw.line((cx + 0.8 * r * np.sin(a), cy - 0.8 * r * np.cos(a), cx + 0.92 * r * np.sin(a), cy - 0.92 * r * np.cos(a)),
                  fill=(40, 30, 20), width=2)  # fmt: skip
    draw.line((cx, cy, cx + 0.4 * r, cy - 0.25 * r), fill=(180, 20, 20), width=3)
    draw.line((cx, cy, cx - 0.1 * r, cy - 0.7 * r), fill=(20, 20, 20), width=2)
    return image


def checks(width: int, height: int) -> Image.Image:
    """A checked cloth."""
    image = Image.new("RGB", (width, height), (200, 40, 50))
    draw = ImageDraw.Draw(image, "RGBA")
    for x in range(0, width, 12):
        draw.rectangle((x, 0, x + 4, height), fill=(20, 20, 60, 120))
    for y in range(0, height, 12):
        draw.rectangle((0, y, width, y + 4), fill=(250, 240, 200, 120))
    return image


def see_through(width: int, height: int) -> Image.Image:
    """A disc with a soft edge on a transparent ground."""
    y, x = np.mgrid[0:height, 0:width]
    d = np.hypot((x - width / 2) / (width / 2), (y - height / 2) / (height / 2))
    alpha = np.rint(np.clip((1 - d) * 4, 0, 1) * 255).astype(np.uint8)
    color = np.asarray(gradient(width, height, (210, 120, 30), (90, 20, 110)))
    return Image.fromarray(np.dstack([color, alpha]), "RGBA")


def png(image: Image.Image) -> bytes:
    """PNG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def outputs(model: bytes, pictures: list[bytes]) -> list[dict[str, list[float]]]:
    """What the exported file makes of each picture, by output."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    net = ort.InferenceSession(model, settings, ["CPUExecutionProvider"])
    names = [o.name for o in net.get_outputs()]
    out = []
    for data in pictures:
        x = photos.normalize(photos.stretch(photos.upright_rgb(Image.open(io.BytesIO(data)))))[None]
        values = zip(names, net.run(None, {"image": x}), strict=True)
        out.append({name: [round(float(v), 6) for v in np.ravel(np.asarray(value)[0])] for name, value in values})
    return out


def cases(model: bytes, int8: bytes | None = None) -> bytes:
    """golden.json: three drawings and what the exported files make of them."""
    drawings = {"shirt": shirt(96, 128), "clock": clock(160, 90), "checks": checks(120, 120)}
    pictures = [png(image) for image in drawings.values()]
    golden: dict[str, Any] = {"tolerance": TOLERANCE}
    listed: list[dict[str, Any]] = [
        {"name": name, "png_base64": base64.b64encode(data).decode(), "outputs": said}
        for name, data, said in zip(drawings, pictures, outputs(model, pictures), strict=True)
    ]
    if int8 is not None:
        golden["tolerance_int8"] = TOLERANCE_INT8
        for case, said in zip(listed, outputs(int8, pictures), strict=True):
            case["outputs_int8"] = said
    return (json.dumps(golden | {"cases": listed}) + "\n").encode()


def preprocessing(folder: Path) -> None:
    """Five hard shapes as PNG, and samples of the tensor that each must become."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "wide": checks(640, 40), "tall": shirt(31, 500), "tiny": clock(16, 16), "huge": shirt(3000, 2000),
        "alpha": see_through(180, 240),
    }  # fmt: skip
    for name, image in pictures.items():
        data = png(image)
        x = photos.normalize(photos.stretch(photos.upright_rgb(Image.open(io.BytesIO(data)))))
        (folder / f"{name}.png").write_bytes(data)
        (folder / f"{name}.json").write_text(json.dumps(expected(name, image, x)) + "\n")


def expected(name: str, image: Image.Image, x: np.ndarray) -> dict[str, object]:
    """Where to look in the (3, 224, 224) tensor and what to find."""
    rng = np.random.default_rng(len(name))
    flat = np.sort(rng.choice(x.size, SAMPLES, replace=False))
    where = [[int(i) for i in place] for place in np.stack(np.unravel_index(flat, x.shape), 1)]
    return {
        "file": f"{name}.png", "width": image.width, "height": image.height, "layout": "chw", "shape": list(x.shape),
        "tolerance": PIXEL_TOLERANCE, "channel_mean": [round(float(v), 6) for v in x.mean((1, 2))],
        "positions": where, "values": [round(float(x[c, h, w]), 6) for c, h, w in where],
    }  # fmt: skip
