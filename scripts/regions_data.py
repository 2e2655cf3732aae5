"""Photos with pixel truth for the region head: street photos, rendered pictures, and shop photos on plain ground.

A cell of the truth is a set of classes that count as right (a bit each, 0: not judged): street photos name the garment,
rendered pictures know the product and leave open what the rest is, and of a shop photo on plain ground it is only known
what is not background, and the garment where nobody wears it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import augment, dataset, photos
from .render import picture, plan
from .taxonomy import Taxonomy

U8 = NDArray[np.uint8]
#: Classes of the region head, in the order of its logits.
CLASSES = ("background", "skin", "hair", "top", "bottom", "full", "footwear", "goods")
BIT = {name: 1 << k for k, name in enumerate(CLASSES)}
GARMENTS = ("top", "bottom", "full", "footwear", "goods")
#: Cells across and down.
SIDE = 28
#: A cell takes the truth that covers at least this share of it.
MAJORITY = 0.55


@dataclass(frozen=True)
class Sample:
    """One picture to learn from: its kind (parsing, rendered, shop), its key, and the view that is taken of it."""

    kind: str
    key: str
    view: int
    val: bool


def is_val(key: str) -> bool:
    """True for a seventh of the pictures."""
    return hashlib.sha256(f"regions|{key}".encode()).digest()[0] < 37


def bits(names: str) -> int:
    """`top|full` to its bits."""
    return sum(BIT[name] for name in names.split("|"))


def parsing(root: Path, key: str) -> tuple[Image.Image, U8]:
    """A street photo and the bits of every pixel."""
    codes = np.asarray(Image.open(root / "parsing/masks" / f"{key}.png"), np.uint8)
    table = np.zeros(256, np.uint8)
    for line in (root / "parsing/labels.txt").read_text().splitlines():
        number, name = line.split(maxsplit=1)
        table[int(number)] = bits(Taxonomy().rules["regions"]["parsing"].get(name, "goods"))
    return photos.load(root / "parsing/photos" / f"{key}.jpg"), table[codes]


def rendered(key: str) -> tuple[Image.Image, U8]:
    """A drawn picture: a task of the plan with other dyes, another ground and another wearer."""
    task = plan.drawn(key)
    width, height = task.line.size
    line = dataclasses.replace(task.line, size=(width // 2, height // 2))
    made = picture.render(dataclasses.replace(task, line=line), 101)
    own = regions_of(task.line.category)
    other = sum(BIT[g] for g in GARMENTS) & ~own
    table = np.array([BIT["background"], own, BIT["skin"], BIT["hair"], other], np.uint8)
    return Image.fromarray(made.shot.rgb), table[made.shot.mask]


def regions_of(category: str) -> int:
    """Bits of the garments that a category may be."""
    rules = Taxonomy().rules
    if (stated := rules["regions"]["by_category"].get(category)) is not None:
        return bits(stated)
    for group, region in rules["regions"]["groups"].items():
        if category in rules["groups"][group]:
            return bits(region)
    return BIT["goods"]


def shop(path: Path, category: str, department: str) -> tuple[Image.Image, U8] | None:
    """A shop photo on plain ground, and what its border tells; None where the ground is not plain."""
    image = photos.load(path)
    small = image.resize((112, 112), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    border = np.concatenate([pixels[:3].reshape(-1, 3), pixels[:, :3].reshape(-1, 3), pixels[:, -3:].reshape(-1, 3)])
    ground = np.median(border, 0)
    if np.abs(border - ground).max(1).mean() > 4:
        return None
    far = np.abs(pixels - ground).max(2)
    product = far > 40
    if not 0.06 < product.mean() < 0.8:
        return None
    background = flood(far < 6)
    what = BIT["goods"] | regions_of(category) if department in ("home", "footwear", "accessories") else 255 & ~BIT["background"]
    if department == "footwear":
        what = BIT["footwear"]
    mask = np.where(product, what, np.where(background, BIT["background"], 0)).astype(np.uint8)
    return image, np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))


def flood(open_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is reached from the border through `open_`."""
    reached = np.zeros_like(open_)
    reached[0], reached[-1], reached[:, 0], reached[:, -1] = open_[0], open_[-1], open_[:, 0], open_[:, -1]
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= open_
        if (grown == reached).all():
            return reached
        reached = grown


def cells(mask: U8) -> U8:
    """(SIDE, SIDE): the bits that cover most of each cell; 0 where none covers enough."""
    codes = np.unique(mask)
    area = (SIDE, SIDE)
    shares = np.stack([
        np.asarray(Image.fromarray((mask == c).astype(np.float32)).resize(area, Image.Resampling.BOX)) for c in codes
    ])  # fmt: skip
    best = shares.argmax(0)
    return np.where(shares.max(0) >= MAJORITY, codes[best], 0).astype(np.uint8)


def view(image: Image.Image, mask: U8, key: str, number: int) -> tuple[Image.Image, U8]:
    """View 0 is the photo itself; the others are crops, mirrored, in other light."""
    if number == 0:
        return image, mask
    rng = augment.rng_for(0, key, f"regions{number}")
    layer = Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST)
    share, ratio = rng.uniform(0.35, 1.0), np.exp(rng.uniform(-0.35, 0.35))
    w, h = image.size
    cw, ch = min(w, round(w * np.sqrt(share * ratio))), min(h, round(h * np.sqrt(share / ratio)))
    x, y = int(rng.integers(0, w - cw + 1)), int(rng.integers(0, h - ch + 1))
    image, layer = image.crop((x, y, x + cw, y + ch)), layer.crop((x, y, x + cw, y + ch))
    if rng.random() < 0.5:
        flip = Image.Transpose.FLIP_LEFT_RIGHT
        image, layer = image.transpose(flip), layer.transpose(flip)
    light = np.clip(np.asarray(image) * rng.uniform(0.75, 1.3) * rng.uniform(0.92, 1.08, 3), 0, 255)
    image = augment.jpeg(Image.fromarray(light.astype(np.uint8)), int(rng.integers(40, 91)))
    return image, np.asarray(layer)


def samples(args: argparse.Namespace, rows: list[dataset.Row]) -> list[Sample]:
    """All samples, several views of each picture with full truth."""
    out = []
    for file in sorted((args.photos / "parsing/photos").glob("*.jpg")):
        val = is_val(file.stem)
        out += [Sample("parsing", file.stem, k, val) for k in range(1 if val else args.views)]
    for k in range(args.rendered):
        val = is_val(f"r{k}")
        out += [Sample("rendered", f"r{k}", n, val) for n in range(1 if val else 2)]
    plain = [r for r in rows if r["source"] in ("catalog", "studio", "home") and r["split"] == "train" and r["category"]]
    chosen = np.random.default_rng(0).permutation(len(plain))[: args.shop]
    out += [Sample("shop", plain[i]["path"], int(n % 2), False) for n, i in enumerate(chosen)]
    return out


def load(sample: Sample, root: Path, row: dataset.Row | None) -> tuple[U8, U8] | None:
    """(224, 224, 3) pixels and (SIDE, SIDE) bits of a sample; None where it gives no truth."""
    if sample.kind == "parsing":
        image, mask = parsing(root, sample.key)
    elif sample.kind == "rendered":
        image, mask = rendered(sample.key)
    else:
        assert row is not None
        made = shop(Path(row["file"]), row["category"].split("|")[0], row["department"])
        if made is None:
            return None
        image, mask = made
    image, mask = view(image, mask, sample.key, sample.view)
    return photos.stretch(image), cells(mask)


def _load(job: tuple[Sample, Path, dataset.Row | None]) -> tuple[U8, U8] | None:
    return load(*job)


def gather(args: argparse.Namespace, rows: list[dataset.Row]) -> tuple[list[Sample], U8, U8]:
    """Samples that give truth, their pixels (n, 224, 224, 3) and bits (n, SIDE, SIDE)."""
    at = {row["path"]: row for row in rows}
    wanted = samples(args, rows)
    with multiprocessing.Pool(args.workers) as pool:
        made = pool.map(_load, [(s, args.photos, at.get(s.key)) for s in wanted], chunksize=8)
    kept = [(s, m) for s, m in zip(wanted, made, strict=True) if m is not None]
    return [s for s, _ in kept], np.stack([m[0] for _, m in kept]), np.stack([m[1] for _, m in kept])
