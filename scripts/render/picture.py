"""One task of the plan becomes a picture with its truth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from . import bottoms, figure, goods, tops
from .canvas import Point, Stage, flip, smooth
from .color import DYES, HAIR, MONK, hex_of, lab_of_hex, linear_of
from .piece import HAIR as HAIR_CLASS
from .piece import OTHER, PRODUCT, SKIN, Bench
from .plan import PLACES, Task
from .relief import COTTON, LEATHER, SATIN
from .scene import Shot, backdrop, shoot

_UPPER = set(tops.CUTS)
_DRESS = {"dress", "gown", "longdress"}
_LOWER = {"trousers", "jeans", "shorts"}
_SKIRT = {"skirt", "pencil", "pleated"}
_NECK = {"round": "round", "v": "v_neck", "scoop": "scoop", "collar": "collar", "polo": "polo", "hood": "hood"}


@dataclass
class Picture:
    """A rendered picture and its truth (the JSON beside it)."""

    task: Task
    shot: Shot
    truth: dict[str, object]


def _stage(task: Task) -> Stage:
    w, h = task.line.size
    kind = task.line.kind
    if task.shot.startswith(("item", "cloth")):
        reach = 5.3 if "watch" in kind else 4.6 if kind in ("vase", "lamp") else 3.9 if h >= w else 3.1
        reach = reach if task.shot != "cloth" else 4.0
        scale = min(h / reach, w / 4.2) if h < w else min(h / reach, w / 3.6)
        middle = {"handbag": -0.15, "tote": -0.1, "mug": 0.1}.get(kind, 0.0)
        return Stage(w, h, scale, w / 2, h / 2 - middle * scale)
    if task.shot.endswith("full"):
        w = h * 9 // 16  # a standing figure is narrow
        return Stage(w, h, h / 8.6, w / 2, h * 0.035)
    top, low = 1.15, 4.65
    if kind in _DRESS:
        top, low = 1.15, tops.CUTS[kind].hem + 0.3
    elif kind in _LOWER:
        top, low = (2.9, 5.9) if kind == "shorts" else (2.85, 7.95)
    elif kind in _SKIRT:
        top, low = 2.9, 6.0
    elif kind == "hoodie":
        top, low = 0.55, 4.5
    if task.shot.startswith("worn"):
        top, low = (-0.15, 4.75) if task.number % 3 else (0.62, 4.75)
    scale = min(h / (low - top), w / (3.0 if kind not in _LOWER | _SKIRT or task.shot.startswith("worn") else 2.0))
    return Stage(w, h, scale, w / 2, h / 2 - (top + low) / 2 * scale)


def _other_bottom(bench: Bench) -> None:
    """Trousers or a skirt of somebody who wears a top that is for sale: other clothing, not the product."""
    before = len(bench.pieces)
    plain, bench.pattern = bench.pattern, "solid"
    bottoms.lower(bench, "jeans")
    bench.pattern = plain
    tint = linear_of(str(bench.rng.choice(["#2b3a55", "#3a3b3e", "#76797d", "#4d5a49"])))
    for p in bench.pieces[before:]:
        p.kind, p.weights, p.tint = OTHER, None, tint


def _other_top(bench: Bench) -> None:
    before = len(bench.pieces)
    plain, bench.pattern = bench.pattern, "solid"
    tops.upper(bench, "tshirt", worn=True)
    bench.pattern = plain
    tint = linear_of(str(bench.rng.choice(["#e9e8e4", "#3c4048", "#a9b2ba"])))
    for p in bench.pieces[before:]:
        p.kind, p.weights, p.tint = OTHER, None, tint


def _shoes(bench: Bench) -> None:
    """Plain dark shoes from the front: other clothing."""
    for side in (list, flip):
        outline: list[Point] = [(0.26, 7.50), (0.50, 7.50), (0.58, 7.88), (0.50, 8.06), (0.34, 8.06), (0.26, 7.88)]
        bench.cut(OTHER, [side(smooth(outline))], tint="#2e2b2a", finish=LEATHER, cloth="leather")


def _worn(bench: Bench, task: Task, tone: int) -> None:
    kind = task.line.kind
    women = task.line.gender == "women" or (task.line.gender == "unisex" and task.number % 2 == 1)
    styles = ("long", "bun", "short") if women else ("short", "short", "short", "bald")
    hair = HAIR[int(bench.rng.integers(0, 3 if tone > 6 else len(HAIR)))]
    figure.body(bench, MONK[tone - 1], legs=True)
    if kind in _UPPER:
        if kind not in _DRESS:
            _other_bottom(bench)
        if task.shot.endswith("full"):
            _shoes(bench)
        tops.upper(bench, kind, worn=True)
    else:
        _shoes(bench)
        _other_top(bench)
        if kind in _LOWER:
            bottoms.lower(bench, kind)
        else:
            bottoms.skirt(bench, kind)
    figure.head(bench, MONK[tone - 1], hair, styles[task.number % len(styles)])


def _empty(bench: Bench, kind: str) -> None:
    if kind in _UPPER:
        tops.upper(bench, kind, worn=False)
    elif kind in _LOWER:
        bottoms.lower(bench, kind)
    elif kind in _SKIRT:
        bottoms.skirt(bench, kind)
    elif kind in ("sneaker", "oxford"):
        goods.shoe(bench, kind)
    elif kind in ("handbag", "tote"):
        goods.bag(bench, kind)
    elif "watch" in kind:
        goods.watch(bench, kind)
    elif kind == "cloth":
        goods.cloth(bench)
    else:
        goods.home(bench, kind)


def render(task: Task, seed: int) -> Picture:
    """Renders one task; the same task and seed give the same pixels, whatever else is rendered."""
    rng = np.random.default_rng([seed, crc32(task.image_id.encode())])
    stage = _stage(task)
    line = task.line
    finish = LEATHER if line.cloth == "leather" else SATIN if line.kind == "gown" else COTTON
    dyes = [linear_of(DYES[d][0]) for d in task.dyes]
    bench = Bench(stage, rng, dyes, line.pattern, line.period, line.cloth, finish)
    worn = re.match(r"worn(\d+)", task.shot)
    tone = int(worn[1]) if worn else None
    if tone is not None:
        _worn(bench, task, tone)
    else:
        _empty(bench, line.kind)
    name, hex_code, kind, shadow = PLACES[task.place]
    back = backdrop(name, stage, hex_code, rng)
    grain = float(rng.choice([0.004, 0.008, 0.012]))
    shot = shoot(stage, bench.pieces, dyes, back, shadow, kind == "alpha", grain, rng)
    return Picture(task, shot, _truth(task, shot, tone, kind))


def _sleeve(kind: str) -> str | None:
    if kind not in _UPPER:
        return None
    reach = tops.CUTS[kind].sleeve
    return "sleeveless" if reach == 0 else "short" if reach < 0.6 else "long"


def _truth(task: Task, shot: Shot, tone: int | None, kind: str) -> dict[str, object]:
    line = task.line
    counts = np.bincount(shot.mask.ravel(), minlength=5) / shot.mask.size
    colors: list[dict[str, Any]] = [
        {"hex": DYES[d][0], "lab": lab_of_hex(DYES[d][0]), "name": DYES[d][1], "share": round(s, 4)}
        for d, s in zip(task.dyes, shot.dye_shares, strict=True)
        if s >= 0.002
    ]
    return {
        "product_id": task.product_id,
        "image_id": task.image_id,
        "title": title(task),
        "category": line.category,
        "department": line.department,
        "gender": line.gender,
        "pattern": line.pattern,
        "neckline": _NECK[tops.CUTS[line.kind].neck] if line.kind in _UPPER else None,
        "sleeve_length": _sleeve(line.kind),
        "colors": sorted(colors, key=lambda c: -c["share"]),
        "background": {"kind": kind, "hex": hex_of(shot.background) if kind not in ("alpha", "none") else None},
        "skin_tone": tone,
        "product_share": round(float(counts[PRODUCT]), 4),
        "skin_share": round(float(counts[SKIN]), 4),
        "hair_share": round(float(counts[HAIR_CLASS]), 4),
        "other_share": round(float(counts[OTHER]), 4),
        "shadow": PLACES[task.place][3],
    }


def title(task: Task) -> str:
    """What the shop writes: the color first, as shops do."""
    return f"{' '.join(d.capitalize() for d in task.dyes[:2])} {task.line.title}"
