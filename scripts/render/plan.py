"""The catalog that is rendered: products, color variants, and the pictures of each.

A line of the catalog is one group of color variants. A shot is ``how:where``:

- how: ``ghost`` (empty garment, as on an invisible mannequin), ``worn1``..``worn10`` (on a figure of that Monk tone),
  ``item`` (goods), ``cloth`` (close-up), with ``full`` appended for the whole figure
- where: a key of :data:`PLACES`
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .color import DYES

# Where: (backdrop of ``scene``, sRGB, kind in the truth, shadow).
PLACES: dict[str, tuple[str, str, str, str]] = {
    "white": ("plain", "#ffffff", "plain", "none"),
    "whitewall": ("plain", "#ffffff", "plain", "wall"),
    "whitefloor": ("plain", "#ffffff", "plain", "floor"),
    "whiteflat": ("plain", "#ffffff", "plain", "flat"),
    "off": ("plain", "#f3efe7", "plain", "wall"),
    "offfloor": ("plain", "#f0eeea", "plain", "floor"),
    "greyplain": ("plain", "#c9cbcd", "plain", "wall"),
    "blueplain": ("plain", "#a9c4dc", "plain", "wall"),
    "pinkflat": ("plain", "#eec3c6", "plain", "flat"),
    "mintflat": ("plain", "#bcdccb", "plain", "flat"),
    "red": ("plain", "#b3262f", "plain", "wall"),
    "blackplain": ("plain", "#0c0c0d", "plain", "none"),
    "studio": ("gradient", "#d5d6d8", "gradient", "wall"),
    "warmstudio": ("gradient", "#ddd2c4", "gradient", "wall"),
    "darkstudio": ("gradient", "#4a4d52", "gradient", "wall"),
    "studiofloor": ("gradient", "#dfe0e2", "gradient", "floor"),
    "alpha": ("plain", "#ffffff", "alpha", "none"),
    "wood": ("wood", "#a87c52", "scene", "flat"),
    "palewood": ("wood", "#d6c2a4", "scene", "flat"),
    "tiles": ("tiles", "#c6c4bf", "scene", "flat"),
    "carpet": ("carpet", "#8d8478", "scene", "flat"),
    "room": ("wall", "#d9d5cb", "scene", "floor"),
    "none": ("plain", "#ffffff", "none", "none"),
}


@dataclass(frozen=True)
class Line:
    """A group of color variants: each variant is dyes joined by ``+`` and its shots."""

    sku: str
    kind: str
    title: str
    category: str
    department: str
    gender: str
    price: float
    pattern: str
    variants: dict[str, str]
    cloth: str = "plain"
    period: float = 0.3
    size: tuple[int, int] = (480, 640)
    tags: str = ""


@dataclass(frozen=True)
class Task:
    """One picture to render."""

    line: Line
    dyes: tuple[str, ...]
    shot: str
    place: str
    product_id: str
    image_id: str
    number: int


# sku | kind (what is cut) | title | category | gender | price | pattern | cloth | repeat of the pattern in head units |
# size in pixels | tags; below it a line for each variant: dyes: shots.
_CATALOG = """
tee | tshirt | Organic Cotton T-shirt | tshirts | unisex | 19.9 | solid | plain | 0.3 | 480x640 | basic organic
  white: ghost:white ghost:alpha worn7:white
  black: ghost:white worn2:studio
  red: ghost:white worn9:off
  navy: ghost:wood
  yellow: worn10:white
  mint: ghost:pinkflat
teestripe | tshirt | Breton Striped T-shirt | tshirts | women | 24.9 | striped | plain | 0.26 | 480x640 | nautical
  white+navy: ghost:white worn3:white
  cream+red: worn8:warmstudio
teeprint | tshirt | Sunset Print T-shirt | tshirts | men | 22 | printed | plain | 0.3 | 480x640 | graphic
  black+orange+yellow: ghost:white worn6:white
  sky+navy: ghost:tiles
vtee | vneck | Slub V-Neck T-shirt | tshirts | men | 21.5 | solid | plain | 0.3 | 480x640 |
  green: ghost:white worn5:white
  charcoal: worn1:white
  lavender: ghost:offfloor
longtee | longsleeve | Long Sleeve Waffle T-shirt | tshirts | men | 27.9 | solid | knit | 0.3 | 480x640 |
  brick: worn4:white ghost:white
  beige: worn4:studio worn10full:white
polo | polo | Pique Polo T-shirt | tshirts | men | 34.9 | solid | knit | 0.3 | 480x640 | polo
  blue: ghost:white worn8:white
  white: worn9:greyplain
  forest: ghost:whitewall
polostripe | polo | Rugby Striped Polo | tshirts | men | 39 | striped | knit | 0.55 | 480x640 | polo
  navy+yellow: worn6:white
oxford | shirt | Oxford Button-Down Shirt | shirts | men | 49.9 | solid | plain | 0.3 | 480x640 | office
  sky: ghost:white worn7:white
  white: ghost:white worn3:off
  black: ghost:blackplain
gingham | shirt | Gingham Checked Shirt | shirts | men | 45 | checked | plain | 0.24 | 480x640 |
  white+red: ghost:white worn2:white
  white+blue: worn10:white
  white+forest+yellow: ghost:palewood
aloha | halfshirt | Short Sleeve Floral Shirt | shirts | men | 42 | floral | plain | 0.3 | 480x640 | vacation
  navy+pink+yellow: ghost:white worn5:white
  lime+white: worn8:studio
tank | tank | Ribbed Tank Top | tops | women | 14.9 | solid | knit | 0.3 | 480x640 |
  pink: worn9:white ghost:white
  tan: worn6:white
  black: worn1:white
tankdot | tank | Dotted Summer Top | tops | women | 17.9 | dotted | plain | 0.17 | 480x640 |
  blue+white: worn4:white ghost:mintflat
hoodie | hoodie | Fleece Pullover Hoodie | sweatshirts | unisex | 54.9 | solid | plain | 0.3 | 480x640 | fleece warm
  grey: ghost:white worn10:white
  purple: worn3:white
  orange: ghost:carpet
  forest: worn7full:studio
knit | sweater | Merino Crew Sweater | sweaters | women | 69 | solid | knit | 0.3 | 480x640 | wool
  cream: ghost:white worn5:warmstudio
  plum: worn8:white
  camel: worn6:studio
knitstripe | sweater | Wool Striped Sweater | sweaters | women | 74 | striped | knit | 0.48 | 480x640 |
  grey+fuchsia: worn2:white
dress | dress | Flared Jersey Dress | dresses | women | 59.9 | solid | plain | 0.3 | 480x640 |
  crimson: ghost:white worn9full:white
  black: worn4full:white
  brown: worn7full:white
floraldress | dress | Garden Floral Dress | dresses | women | 64.9 | floral | plain | 0.3 | 480x640 |
  white+pink+yellow: worn6full:white ghost:studio
  navy+rose+lemon: worn1full:off
gown | gown | Satin V-Neck Evening Gown | dresses | women | 129 | solid | smooth | 0.3 | 480x640 | evening
  green: worn10full:studio ghost:white
  gold: worn5full:darkstudio
dotdress | longdress | Polka Dot Midi Dress | dresses | women | 72 | dotted | plain | 0.24 | 480x640 |
  black+white: worn8full:white
  red+white: ghost:white
jeans | jeans | Straight Fit Jeans | jeans | men | 59 | solid | denim | 0.3 | 480x640 |
  denim: ghost:white worn6full:white
  indigo: ghost:wood
  black: worn3full:white
chino | trousers | Tapered Chino Trousers | trousers | men | 49 | solid | plain | 0.3 | 480x640 |
  beige: ghost:white worn5full:white
  navy: worn9full:white
  tan: worn7full:off
plaid | trousers | Checked Tailored Trousers | trousers | women | 62 | checked | plain | 0.3 | 480x640 |
  grey+black: ghost:white
  charcoal+white+red: worn2full:white
shorts | shorts | Cotton Twill Shorts | shorts | men | 29.9 | solid | plain | 0.3 | 480x640 |
  orange: worn8full:white
  grey: ghost:white
skirt | skirt | A-Line Skirt | skirts | women | 36 | solid | plain | 0.3 | 480x640 |
  yellow: ghost:white worn10full:white
  purple: ghost:offfloor
pleat | pleated | Pleated Tennis Skirt | skirts | women | 38 | solid | plain | 0.3 | 480x640 |
  white: ghost:white
  rose: worn4full:white
tartan | pencil | Tartan Pencil Skirt | skirts | women | 44 | checked | plain | 0.34 | 480x640 |
  crimson+black+yellow: ghost:white worn1full:white
sneaker | sneaker | Low Canvas Sneakers | casual_shoes | unisex | 64.9 | solid | plain | 0.3 | 560x420 |
  red+white: item:white item:wood
  black+white: item:studiofloor
  white+lime: item:whitefloor
  navy+snow: item:alpha
derby | oxford | Leather Derby Shoes | formal_shoes | men | 119 | solid | leather | 0.3 | 560x420 |
  brown+black: item:white item:tiles
  black+chocolate: item:whitefloor
bag | handbag | Structured Flap Handbag | handbags | women | 89 | solid | leather | 0.3 | 480x600 |
  camel+gold: item:whitefloor item:studiofloor
  crimson+gold: item:white
  black+silver: item:red
tote | tote | Striped Canvas Tote | handbags | women | 35 | striped | plain | 0.5 | 480x600 |
  cream+blue: item:white
  cream+black: item:room
watch | leatherwatch | Classic Leather Watch | watches | men | 149 | solid | leather | 0.3 | 480x640 |
  brown+gold+cream: item:white
  black+steel+navy: item:blackplain
steel | steelwatch | Steel Diver Watch | watches | men | 229 | solid | smooth | 0.3 | 480x640 |
  steel+silver+forest: item:white item:darkstudio
mug | mug | Stoneware Mug | mugs | unisex | 12.5 | solid | smooth | 0.3 | 480x480 |
  blue: item:whitefloor
  tangerine: item:room
  snow: item:white
mugdot | mug | Polka Dot Mug | mugs | unisex | 13.5 | dotted | smooth | 0.45 | 480x480 |
  white+red: item:offfloor
vase | vase | Glazed Table Vase | vases | unisex | 32 | solid | smooth | 0.3 | 480x640 |
  green: item:studiofloor
  black: item:whitefloor
lamp | lamp | Fabric Shade Table Lamp | table_lamps | unisex | 48 | solid | plain | 0.3 | 480x640 |
  cream+gold: item:whitefloor
  brick+steel: item:blueplain
cushion | cushion | Woven Cushion Cover | cushion_covers | unisex | 16.9 | striped | plain | 0.5 | 480x480 |
  grey+yellow: item:white
cushionfloral | cushion | Floral Cushion Cover | cushion_covers | unisex | 18.9 | floral | plain | 0.55 | 480x480 |
  cream+plum+green: item:palewood item:alpha
fabric | cloth | Cotton Fabric by the Meter | fabrics | unisex | 9.5 | checked | plain | 0.6 | 400x400 |
  white+purple: cloth:none
fabricdot | cloth | Dotted Cotton Fabric | fabrics | unisex | 9.5 | dotted | plain | 0.6 | 400x400 |
  pink+white: cloth:none
fabricplain | cloth | Plain Linen Fabric | fabrics | unisex | 11 | solid | plain | 0.3 | 400x400 |
  sand: cloth:none
"""


def _department(category: str) -> str:
    if category.endswith("_shoes"):
        return "footwear"
    if category in ("handbags", "watches"):
        return "accessories"
    return "home" if category in ("mugs", "vases", "table_lamps", "cushion_covers", "fabrics") else "apparel"


def _line(head: str) -> Line:
    sku, kind, title, category, gender, price, pattern, cloth, period, size, tags = (f.strip() for f in head.split("|"))
    width, height = (int(v) for v in size.split("x"))
    department = _department(category)
    repeat, pixels = float(period), (width, height)
    return Line(sku, kind, title, category, department, gender, float(price), pattern, {}, cloth, repeat, pixels, tags)


def _parse(text: str) -> list[Line]:
    out: list[Line] = []
    for row in text.strip("\n").splitlines():
        if row.startswith("  "):
            dyes, shots = row.strip().split(": ", 1)
            out[-1].variants[dyes] = shots
        else:
            out.append(_line(row))
    return out


LINES: list[Line] = _parse(_CATALOG)


def tasks() -> Iterator[Task]:
    """Every picture, in the order of the catalog."""
    number = 0
    for line in LINES:
        for dyes, shots in line.variants.items():
            names = tuple(dyes.split("+"))
            product = "-".join((line.sku, *names[:2]))
            for i, shot in enumerate(shots.split(), 1):
                how, place = shot.split(":")
                yield Task(line, names, how, place, product, f"{product}-{i}", number)
                number += 1


def drawn(key: str) -> Task:
    """A picture of the catalog with other dyes, another ground and another wearer, by lot; three of four are worn."""
    rng = np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:12], 16))
    every = list(tasks())
    worn = [t for t in every if t.shot.startswith("worn")]
    task = worn[rng.integers(len(worn))] if rng.random() < 0.75 else every[rng.integers(len(every))]
    shot = task.shot
    if shot.startswith("worn"):
        shot = f"worn{rng.integers(1, 11)}" + ("full" if shot.endswith("full") else "")
    names = sorted(DYES)
    dyes = tuple(names[rng.integers(len(names))] for _ in task.dyes)
    places = [p for p in PLACES if p not in ("none", "alpha")]
    place = task.place if task.place in ("none", "alpha") else places[rng.integers(len(places))]
    return replace(task, dyes=dyes, shot=shot, place=place, image_id=key)
