"""What a manifest may not be, and how photos come to their side of the split."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import duplicates, files, golden, options, prepare, sources
from scripts.taxonomy import HEADS, Taxonomy

TAXONOMY = Taxonomy()


def own(folder: Path, *lines: str, header: str = "file,product_id,category,pattern") -> list[sources.Labeled]:
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    return sources.own(folder, TAXONOMY)


def photo(folder: Path, name: str, seed: int) -> str:
    folder.mkdir(exist_ok=True)
    image = golden.shirt(90, 120) if seed == 0 else golden.gradient(90, 120, (seed * 20 % 255, 40, 200), (5, 250, seed * 9 % 255))
    image.save(folder / name)
    return name


def test_a_sound_manifest_is_read(tmp_path: Path) -> None:
    items = own(tmp_path / "shop", "b.png,2,tshirts|tops,", "a.png,1,jeans,solid")
    assert [i.name for i in items] == ["a.png", "b.png"]
    assert items[0].cells["pattern"] == "solid"
    assert set(items[0].cells) == set(HEADS)


@pytest.mark.parametrize(("lines", "header", "expected"), [
    (["a.png,1,jeens,"], None, "line 2: category 'jeens' is not in taxonomy.toml"),
    (["a.png,,jeans,"], None, "line 2: product_id is empty"),
    (["a.png,1,jeans,", "a.png,2,jeans,"], None, "line 3: file a.png stands in line 2 too"),
    (["a.png,1,jeans"], None, "line 2: expected 4 cells"),
    (["../a.png,1,jeans,"], None, "not below the folder"),
    (["a.png,1,train", "b.png,1,val"], "file,product_id,split", "line 3: product 1 is val here and train in"),
    (["a.png,1,test"], "file,product_id,split", "expected train, val or nothing"),
    (["a.png,jeans"], "file,category", "columns missing ['product_id']"),
    (["a.png,1,x"], "file,product_id,colour", "not known ['colour']"),
])  # fmt: skip
def test_refusals_name_the_line(tmp_path: Path, lines: list[str], header: str | None, expected: str) -> None:
    with pytest.raises(SystemExit) as refused:
        own(tmp_path / "shop", *lines, header=header or "file,product_id,category,pattern")
    assert expected in str(refused.value)


def test_missing_and_corrupt_photos_are_named_or_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    photo(folder, "good.png", 3)
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:200])
    items = own(folder, "good.png,1,jeans,", "cut.png,2,jeans,", "gone.png,3,jeans,")
    with pytest.raises(SystemExit) as refused:
        prepare.table(items, 0, 1)
    assert "line 3: photo cut.png" in str(refused.value) and "line 4: photo gone.png" in str(refused.value)
    assert [r["path"] for r in prepare.table(items, 0, 1, skip_bad=True)] == ["shop/good.png"]


def test_near_duplicates_stand_on_one_side(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    names = [photo(folder, f"{k}.png", k) for k in range(12)]
    with Image.open(folder / "0.png") as image:
        image.resize((300, 400)).save(folder / "copy.jpg", quality=60)
    items = own(folder, *(f"{n},{k},jeans," for k, n in enumerate(names)), "copy.jpg,other,tops,")
    thumbs = np.stack([t for _, t, _ in map(prepare.look, items) if t is not None])
    found = {frozenset((items[a].name, items[b].name)) for a, b in duplicates.pairs(thumbs)}
    assert frozenset(("0.png", "copy.jpg")) in found
    for seed in range(12):
        side = {r["path"]: r["split"] for r in prepare.table(items, seed, 1)}
        assert side["shop/0.png"] == side["shop/copy.jpg"]


def test_a_stated_side_wins_and_pulls_its_twin() -> None:
    assert prepare.assign(["a", "b", "c"], ["val", "", "train"], [(1, 2)], 0) == ["val", "train", "train"]


def test_one_class_only_is_refused() -> None:
    row = dict.fromkeys(prepare.COLUMNS, "")
    cells = (("train", "jeans"), ("train", "tops"), ("val", ""))
    rows = [row | {"split": side, "pattern": "solid", "category": kind} for side, kind in cells]
    with pytest.raises(SystemExit, match="pattern: all 2 labeled photos are 'solid'"):
        prepare.check(rows, list(HEADS))
    prepare.check(rows, [h for h in HEADS if h != "pattern"])
    with pytest.raises(SystemExit, match="0 to validate"):
        prepare.check(rows[:2], [])


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), files.replacing(path) as staged:
        staged.write_text("half of the ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_own_sources_are_named_by_their_folder(tmp_path: Path) -> None:
    own(tmp_path / "shop", "a.png,1,jeans,")
    import argparse

    parser = argparse.ArgumentParser()
    options.add_common(parser)
    assert options.parse(parser, ["--own", str(tmp_path / "shop")]).sources == ["shop"]
    assert options.parse(parser, ["--own", str(tmp_path / "shop"), "--sources", "fabric"]).sources == ["fabric", "shop"]
    with pytest.raises(SystemExit):
        options.parse(parser, ["--own", str(tmp_path)])
