"""The renderer: repeatable bytes, and truth that agrees with the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.render.canvas import blur, limb, smooth
from scripts.render.color import DYES, MONK, hex_of, lab_of_hex, linear_of, to_linear, to_srgb
from scripts.render.fabric import PATTERNS
from scripts.render.files import encode, encode_mask
from scripts.render.picture import Picture, render
from scripts.render.plan import PLACES, Task, tasks

TASKS = {t.image_id: t for t in tasks()}
# A worn top on gradient, a pattern, an alpha cut-out and goods.
PICKED = ("tee-black-2", "tee-white-2", "mugdot-white-red-1", "fabric-white-purple-1")


@pytest.fixture(scope="module")
def pictures() -> dict[str, Picture]:
    return {i: render(TASKS[i], seed=7) for i in PICKED}


def test_same_seed_gives_same_bytes(pictures: dict[str, Picture]) -> None:
    for i in ("mugdot-white-red-1", "fabric-white-purple-1"):
        again = render(TASKS[i], seed=7)
        assert encode(again) == encode(pictures[i])
        assert encode_mask(again) == encode_mask(pictures[i])
        assert again.truth == pictures[i].truth


def test_another_seed_gives_another_picture(pictures: dict[str, Picture]) -> None:
    i = "fabric-white-purple-1"
    assert encode(render(TASKS[i], seed=8)) != encode(pictures[i])


@pytest.mark.parametrize("image_id", PICKED)
def test_shares_are_those_of_the_mask(pictures: dict[str, Picture], image_id: str) -> None:
    p = pictures[image_id]
    for key, index in (("product_share", 1), ("skin_share", 2), ("hair_share", 3), ("other_share", 4)):
        assert p.truth[key] == pytest.approx(float((p.shot.mask == index).mean()), abs=1e-4)


@pytest.mark.parametrize("image_id", PICKED)
def test_color_shares_sum_to_one(pictures: dict[str, Picture], image_id: str) -> None:
    colors = pictures[image_id].truth["colors"]
    assert isinstance(colors, list)
    assert sum(c["share"] for c in colors) == pytest.approx(1, abs=2e-3)
    assert colors == sorted(colors, key=lambda c: -c["share"])


def _lab(rgb: np.ndarray) -> np.ndarray:
    return np.array(lab_of_hex("#" + "".join(f"{int(v):02x}" for v in rgb)))


def test_middle_of_a_solid_product_is_its_dye(pictures: dict[str, Picture]) -> None:
    p = pictures["tee-black-2"]
    middle = np.median(p.shot.rgb[p.shot.mask == 1], axis=0)
    assert np.linalg.norm(_lab(middle) - np.array(lab_of_hex(DYES["black"][0]))) < 5


def test_middle_of_skin_is_its_monk_tone(pictures: dict[str, Picture]) -> None:
    p = pictures["tee-black-2"]
    assert p.truth["skin_tone"] == 2
    middle = np.median(p.shot.rgb[p.shot.mask == 2], axis=0)
    assert np.linalg.norm(_lab(middle) - np.array(lab_of_hex(MONK[1]))) < 5


def test_shading_spreads_lightness(pictures: dict[str, Picture]) -> None:
    """A flat fill would make every palette look right: cloth must span several lightnesses."""
    p = pictures["fabric-white-purple-1"]
    low, high = np.percentile(p.shot.rgb[p.shot.mask == 1].mean(axis=1), [5, 95])
    assert high - low > 40


def test_alpha_follows_the_mask(pictures: dict[str, Picture]) -> None:
    shot = pictures["tee-white-2"].shot
    assert shot.alpha is not None
    assert (shot.alpha[shot.mask == 1] > 100).all()
    assert (shot.alpha == 0).mean() > 0.2


def test_plan_covers_what_it_promises() -> None:
    every: list[Task] = list(TASKS.values())
    assert len(every) == len(list(tasks())), "image ids repeat"
    tones = {t.shot.removeprefix("worn").removesuffix("full") for t in every if t.shot.startswith("worn")}
    assert tones == {str(n) for n in range(1, 11)}
    assert {t.line.pattern for t in every} == set(PATTERNS)
    assert {PLACES[t.place][2] for t in every} == {"plain", "gradient", "alpha", "scene", "none"}
    assert {DYES[d][1] for t in every for d in t.dyes} >= {
        "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "beige",
    }  # fmt: skip


def test_color_arithmetic() -> None:
    v = np.linspace(0, 1, 256)
    assert np.abs(to_srgb(to_linear(v)) - v).max() < 1e-6
    assert hex_of(linear_of("#1e2c55")) == "#1e2c55"
    # CIELAB of sRGB red, D65 (Lindbloom).
    assert lab_of_hex("#ff0000") == pytest.approx([53.24, 80.09, 67.20], abs=0.03)


def test_outlines_and_blur() -> None:
    assert len(limb([(0, 0), (0, 1)], [0.1, 0.2])) == 18
    assert smooth([(0, 0), (0, 0), (1, 0), (1, 1)]).count((0.0, 0.0)) >= 1
    step = np.zeros((120, 120), np.float32)
    step[60:] = 1
    for sigma in (1.0, 3.0, 9.0):
        out = blur(step, sigma)
        assert float(out.mean()) == pytest.approx(0.5, abs=0.01)
        # A Gaussian step is steepest in the middle: 1 / (sigma * sqrt(2 pi)).
        assert float(np.diff(out[:, 60]).max()) == pytest.approx(0.399 / sigma, rel=0.3)
