"""Writes pictures, masks, truth and the import manifest to a folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .color import MONK, lab_of_hex
from .picture import Picture, title
from .plan import Task

# Background, product, skin, hair, other clothing: colors only for people who open a mask in a viewer.
_MASK_PALETTE = [0, 0, 0, 255, 255, 255, 224, 160, 120, 110, 70, 40, 80, 130, 220]
_QUALITIES = (68, 76, 82, 88, 92)


def encode(picture: Picture) -> tuple[str, bytes]:
    """File name and bytes of the picture: JPEG of varied quality, PNG where there is alpha."""
    shot, n = picture.shot, picture.task.number
    out = io.BytesIO()
    if shot.alpha is not None:
        rgba = np.dstack([shot.rgb, shot.alpha])
        Image.fromarray(rgba).save(out, "PNG", optimize=True)
        return f"{picture.task.image_id}.png", out.getvalue()
    quality = _QUALITIES[n % len(_QUALITIES)]
    Image.fromarray(shot.rgb).save(
        out, "JPEG", quality=quality, subsampling=(2, 2, 0)[n % 3], optimize=True, progressive=n % 4 == 0
    )
    return f"{picture.task.image_id}.jpg", out.getvalue()


def encode_mask(picture: Picture) -> bytes:
    """The mask as an indexed PNG."""
    image = Image.fromarray(picture.shot.mask).convert("P")
    image.putpalette(_MASK_PALETTE)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, bits=4)
    return out.getvalue()


def write(picture: Picture, root: Path) -> str:
    """Writes picture, truth and mask below ``root``; returns the picture's path relative to ``root``."""
    name, data = encode(picture)
    stem = picture.task.image_id
    for folder in ("photos", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "photos" / name).write_bytes(data)
    (root / "masks" / f"{stem}.png").write_bytes(encode_mask(picture))
    (root / "photos" / f"{stem}.json").write_text(json.dumps(picture.truth, indent=1) + "\n", encoding="utf-8")
    return f"photos/{name}"


def row(task: Task, uri: str) -> dict[str, str]:
    """One line of the manifest."""
    line = task.line
    # Some variants are sold out and some cost more, so that filters have something to do.
    price = line.price + (5.0 if len(task.dyes) > 2 else 0.0)
    stock = sum(map(ord, task.product_id)) % 6 != 0
    tags = "|".join([*line.tags.split(), line.pattern, task.dyes[0]])
    return {
        "product_id": task.product_id, "image_id": task.image_id, "image_uri": uri, "title": title(task),
        "category": line.category, "price": f"{price:.2f}", "currency": "EUR", "in_stock": str(stock).lower(),
        "group_id": line.sku, "tags": tags,
    }  # fmt: skip


def write_manifest(rows: Iterable[dict[str, str]], path: Path) -> None:
    """A table, one image a row: the manifest of the demo import, or labels."""
    rows = list(rows)
    with path.open("w", newline="", encoding="utf-8") as f:
        out = csv.DictWriter(f, fieldnames=list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


#: Classes of a mask, as ``labels.txt`` beside it names them.
CLASSES = ("background", "product", "skin", "hair", "other")
#: A dye nearer than this to the line of skin tones (CIE76) is like skin; beige lies at 4, camel at 6, brown at 9.
_LIKE_SKIN = 10.0
#: A backdrop of more chroma than this is colored.
_COLORED = 8.0


def _off_skin(lab: list[float]) -> float:
    """CIE76 distance to the line through the Monk tones."""
    line, point = np.array([lab_of_hex(tone) for tone in MONK]), np.array(lab)
    steps = line[1:] - line[:-1]
    t = np.clip(((point - line[:-1]) * steps).sum(1) / (steps**2).sum(1), 0, 1)
    return float(np.linalg.norm(line[:-1] + t[:, None] * steps - point, axis=1).min())


def label(picture: Picture, uri: str) -> dict[str, str]:
    """One line of the labels: where picture and mask lie, and what of the truth figures are counted by."""
    truth = picture.truth
    colors: list[dict[str, Any]] = truth["colors"]  # type: ignore[assignment]
    back: dict[str, Any] = truth["background"]  # type: ignore[assignment]
    kind = str(back["kind"])
    if kind in ("plain", "gradient") and float(np.linalg.norm(lab_of_hex(back["hex"])[1:])) > _COLORED:
        kind = "colored"
    shares: dict[str, float] = {}
    for color in colors:  # the lot may draw one dye twice
        shares[color["hex"]] = round(shares.get(color["hex"], 0.0) + color["share"], 4)
    like = any(c["share"] >= 0.2 and _off_skin(c["lab"]) < _LIKE_SKIN for c in colors)
    return {
        "file": uri, "mask": f"masks/{picture.task.image_id}.png", "background": kind, "place": picture.task.place,
        "skin_tone": str(truth["skin_tone"] or ""), "skin_like": str(like).lower(), "category": str(truth["category"]),
        "colors": "|".join(f"{color}:{share}" for color, share in sorted(shares.items(), key=lambda c: -c[1])),
    }  # fmt: skip


def write_labels(rows: Iterable[dict[str, str]], root: Path) -> None:
    """``labels.csv`` and the names of the classes: what ``vitrine eval masks`` reads."""
    write_manifest(rows, root / "labels.csv")
    (root / "labels.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(CLASSES)), encoding="utf-8")
