"""The files of testdata/: the committed truth agrees with the committed pixels, and every file has its expectation."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scripts.render import broken, odd
from scripts.render.color import lab_of, lab_of_hex, to_linear

ROOT = Path(__file__).resolve().parents[2] / "testdata"
TRUTHS = sorted((ROOT / "photos").glob("*.json"))


def _picture(truth: Path) -> Path:
    return next(p for p in (truth.with_suffix(".jpg"), truth.with_suffix(".png")) if p.exists())


def test_there_are_pictures() -> None:
    assert len(TRUTHS) >= 100


def test_masks_agree_with_truth() -> None:
    for path in TRUTHS:
        truth = json.loads(path.read_text())
        mask = np.asarray(Image.open(ROOT / "masks" / f"{path.stem}.png"))
        assert mask.max() <= 4, path.stem
        for key, index in (("product_share", 1), ("skin_share", 2), ("hair_share", 3), ("other_share", 4)):
            assert truth[key] == pytest.approx(float((mask == index).mean()), abs=1e-4), path.stem
        assert (truth["skin_tone"] is not None) == bool((mask == 2).any()), path.stem
        with Image.open(_picture(path)) as picture:
            assert picture.size == mask.shape[::-1], path.stem


def test_committed_colors_are_those_of_the_truth() -> None:
    """Solid apparel: the median of the product's pixels, after JPEG, is the dye within 6 (CIE 1976)."""
    checked = 0
    for path in TRUTHS:
        truth = json.loads(path.read_text())
        if truth["pattern"] != "solid" or truth["department"] != "apparel":
            continue
        mask = np.asarray(Image.open(ROOT / "masks" / f"{path.stem}.png"))
        rgb = np.asarray(Image.open(_picture(path)).convert("RGB"))
        middle = np.median(rgb[mask == 1], axis=0) / 255
        lab = lab_of(to_linear(middle))
        distance = float(np.linalg.norm(lab - np.array(lab_of_hex(truth["colors"][0]["hex"]))))
        assert distance < 6, (path.stem, distance)
        checked += 1
    assert checked > 50


def test_manifest_lists_every_picture_once() -> None:
    with (ROOT / "manifest.csv").open(encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert {Path(r["image_uri"]).stem for r in rows} == {p.stem for p in TRUTHS}
    assert len({(r["product_id"], r["image_id"]) for r in rows}) == len(rows)
    assert all((ROOT / r["image_uri"]).is_file() for r in rows)
    # Variants and several pictures of a product are what grouping is tested on.
    assert len({r["group_id"] for r in rows}) < len({r["product_id"] for r in rows}) < len(rows)


def test_broken_files_have_expectations() -> None:
    expected = json.loads((ROOT / "broken" / "expected.json").read_text())
    there = {p.name for p in (ROOT / "broken").iterdir()} - {"expected.json"}
    assert there == set(expected) and len(there) >= 80
    assert {e["outcome"] for e in expected.values()} == {"rejected", "accepted", "either"}
    for path in (ROOT / "broken").iterdir():
        assert path.stat().st_size < 20_000 or path.name.startswith(("frames_10000", "expected")), path.name


def test_broken_files_are_repeatable() -> None:
    for name, (data, _, _) in broken.cases().items():
        if not name.endswith((".webp", ".gif")):  # encoders differ by version; the hand-written bytes must not
            assert len(data) == (ROOT / "broken" / name).stat().st_size, name


def test_odd_files_decode_to_their_truth() -> None:
    """Pillow is a second opinion on sizes and pixels (profiles aside: it does not convert on its own)."""
    expected = json.loads((ROOT / "odd" / "expected.json").read_text())
    assert {p.name for p in (ROOT / "odd").iterdir()} - {"expected.json"} == set(expected)
    assert set(expected) == set(odd.cases())
    for name, want in expected.items():
        with Image.open(ROOT / "odd" / name) as opened:
            picture = ImageOps.exif_transpose(opened)
            assert picture.size == (want["width"], want["height"]), name
            if name.startswith("icc_"):
                continue
            if picture.mode.startswith("I"):
                picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
            rgba = np.asarray(picture.convert("RGBA")).astype(int)
        for p in want["points"]:
            r, g, b, a = rgba[p["y"], p["x"]]
            mixed = [round(255 + (c - 255) * a / 255) for c in (r, g, b)]
            assert max(abs(x - y) for x, y in zip(mixed, p["rgb"], strict=True)) <= p["tolerance"], (name, p, mixed)
            assert abs(a - p["alpha"]) <= 2, (name, p)
