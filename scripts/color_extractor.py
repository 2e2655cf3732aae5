"""Colors that Algolia's open pipeline (color-extractor, MIT) gives photos, to judge beside ours.

    python -m scripts.color_extractor labels.csv --checkout color-extractor --out beside.csv
    vitrine eval color labels.csv --color-names color_names.csv --beside beside.csv

It has no release that runs today: `--checkout` names a clone of its repository. What NumPy and scikit-image have renamed since
is put back for it; nothing that it computes is changed, but for the seed of its k-means. Needs scikit-image and scikit-learn.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pipeline(checkout: Path) -> Any:
    """Its way from pixels (height, width, RGB, 0 to 1) to the largest color of the product."""
    warnings.simplefilter("ignore", FutureWarning)
    color, filters, morphology = (importlib.import_module(f"skimage.{name}") for name in ("color", "filters", "morphology"))
    vars(np).setdefault("bool", np.bool_)
    vars(color).setdefault("rgb2grey", color.rgb2gray)
    gaussian, opening, disk = filters.gaussian, morphology.binary_opening, morphology.disk
    vars(filters)["gaussian"] = lambda image, sigma, multichannel=None: gaussian(image, sigma)
    vars(morphology)["binary_opening"] = lambda image, selem=None, out=None: opening(image, selem, out=out)
    vars(morphology)["disk"] = lambda radius, dtype=np.uint8: disk(radius, dtype=dtype)
    sys.path.insert(0, str(checkout))
    steps = {
        name: importlib.import_module(f"color_extractor.{name}") for name in ("resize", "back", "skin", "cluster", "selector")
    }
    resize, back, skin = steps["resize"].Resize({}), steps["back"].Back({}), steps["skin"].Skin({})
    cluster, selector = steps["cluster"].Cluster({}), steps["selector"].Selector({})
    cluster._kmeans_args["random_state"] = 0

    def largest(pixels: Any) -> Any:
        small = resize.get(pixels)
        mask = back.get(small) | skin.get(small)
        return selector.get(*cluster.get(small[~mask]))[0]

    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--photos", type=Path, help="folder of the photos [default: that of the CSV]")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="only rows with one of these values")
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    wanted: dict[str, set[str]] = {}
    for condition in args.where:
        column, _, value = condition.partition("=")
        wanted.setdefault(column, set()).add(value)
    with args.labels.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[c] in values for c, values in wanted.items())]
    largest = pipeline(args.checkout)
    folder = args.photos or args.labels.parent
    took, failed = [], 0
    with args.out.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", "color"])
        for row in rows:
            name = row.get("file") or row["path"]
            pixels = np.asarray(Image.open(folder / name).convert("RGB"), dtype=np.float64) / 255
            begun = time.perf_counter()
            try:
                red, green, blue = (round(255 * float(v)) for v in largest(pixels))
                color = f"#{red:02x}{green:02x}{blue:02x}"
            except Exception:  # Photos without a product end in k-means of nothing: it has no answer.
                color, failed = "", failed + 1
            took.append(time.perf_counter() - begun)
            out.writerow([name, color])
    print(f"{len(rows)} photos, {failed} without an answer, median {1000 * float(np.median(took)):.0f} ms")


if __name__ == "__main__":
    main()
