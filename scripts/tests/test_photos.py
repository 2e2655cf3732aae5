"""Decoding, views and drawn pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import augment, golden, photos, split


def test_alpha_goes_on_white_and_exif_turns() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert photos.upright_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    golden.gradient(40, 20, (0, 0, 0), (255, 255, 255)).save(buffer, "JPEG", exif=exif)
    assert photos.upright_rgb(Image.open(buffer)).size == (20, 40)


def test_normalize_layout() -> None:
    x = photos.normalize(photos.stretch(Image.new("RGB", (10, 30), (255, 0, 0))))
    assert x.shape == (3, 224, 224)
    assert x[0, 0, 0] == pytest.approx((1 - 0.485) / 0.229, abs=1e-5)
    assert x[1, 0, 0] == pytest.approx(-0.456 / 0.224, abs=1e-5)


def test_views_depend_on_their_key_alone() -> None:
    image = golden.shirt(120, 160)
    one, two, other = (np.asarray(augment.view(image, 0, key, "query")) for key in ("a", "a", "b"))
    assert np.array_equal(one, two)
    assert one.shape != other.shape or not np.array_equal(one, other)
    assert 0.75 < one.shape[0] * one.shape[1] / (120 * 160) < 0.95
    assert augment.view(image, 0, "a", "clean") is image
    with pytest.raises(ValueError):
        augment.view(image, 0, "a", "nonsense")


def test_split_keeps_a_product_on_one_side() -> None:
    row = {"id": "77", "file": "images/77.jpg"}
    assert split.group("catalog", row) == split.group("studio", row)
    share = np.mean([split.is_val(f"product:{i}", 0) for i in range(5000)])
    assert 0.1 < share < 0.14
    assert not any(split.is_val(f"sender:{i}", 0, size=500) for i in range(200))


def test_golden_tensors_are_small_and_true(tmp_path: Path) -> None:
    golden.preprocessing(tmp_path)
    assert {p.stem for p in tmp_path.glob("*.png")} == {"wide", "tall", "tiny", "huge", "alpha"}
    assert all(p.stat().st_size < 60_000 for p in tmp_path.iterdir())
