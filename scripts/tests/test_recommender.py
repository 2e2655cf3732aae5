"""Which rows of a feature export count, the measures by hand-made cases, and drawn interactions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

needed = "pyarrow is missing: pip install -r scripts/recommender/requirements.txt"
pq = pytest.importorskip("pyarrow.parquet", reason=needed)

from scripts.recommender import features, generate, metrics, package, stand_in  # noqa: E402


def manifest(cursor: int, after: int, full: bool) -> dict[str, Any]:
    return {"schema": features.SCHEMA, "source": "urn:uuid:1", "is_full": full, "after": after, "cursor": cursor}


def product(item_id: str, price: float = 1.0) -> dict[str, Any]:
    return stand_in.products(1, 0)[0] | {"item_id": item_id, "price": price}


def read(export: Path) -> dict[str, float]:
    rows = features.read_local(export, ["item_id", "price"]).to_pylist()
    assert len({row["item_id"] for row in rows}) == len(rows)
    return {row["item_id"]: row["price"] for row in rows}


def test_reading_starts_at_the_newest_full_folder() -> None:
    found = {"a": manifest(5, 0, True), "d": manifest(30, 20, False), "b": manifest(9, 5, False), "c": manifest(20, 0, True)}
    assert features.folders(found) == ["c", "d"]


def test_an_export_without_a_full_folder_or_with_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="no full export"):
        features.folders({"b": manifest(9, 5, False)})
    with pytest.raises(ValueError, match="a folder is missing"):
        features.folders({"a": manifest(5, 0, True), "c": manifest(20, 9, False)})
    with pytest.raises(ValueError, match="another source"):
        features.folders({"a": manifest(5, 0, True), "b": manifest(9, 5, False) | {"source": "urn:uuid:2"}})
    with pytest.raises(ValueError, match="schema"):
        features.folders({"a": manifest(5, 0, True) | {"schema": "urn:vitrine:features:v2"}})


def test_the_largest_seq_counts_and_tombstones_remove(tmp_path: Path) -> None:
    cursor = stand_in.write_partition(tmp_path, [product("a"), product("b"), product("c")], 0, True, part_rows=2)
    assert read(tmp_path) == {"a": 1, "b": 1, "c": 1}
    cursor = stand_in.write_partition(
        tmp_path, [product("a", 2), stand_in.tombstone("b"), stand_in.tombstone("c")], cursor, False
    )
    assert read(tmp_path) == {"a": 2}
    cursor = stand_in.write_partition(tmp_path, [product("a", 3), product("c", 4), product("a", 5)], cursor, False)
    assert read(tmp_path) == {"a": 5, "c": 4}
    # Full again: what is not in it is gone, with or without a tombstone.
    stand_in.write_partition(tmp_path, [product("d", 6), stand_in.tombstone("c")], cursor, True)
    assert read(tmp_path) == {"d": 6}


def test_a_folder_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    cursor = stand_in.write_partition(tmp_path, [product("a")], 0, True)
    cursor = stand_in.write_partition(tmp_path, [product("a", 2)], cursor, False)
    (tmp_path / f"cursor={cursor}" / features.MANIFEST).unlink()
    assert read(tmp_path) == {"a": 1}


def test_measures_of_a_hand_made_case() -> None:
    hits = {1: {10, 11}, 2: {12}, 3: {13}}
    found = metrics.judge({1: [10, 20, 11], 2: [20, 12], 9: [14]}, hits, eligible=10, n=3)
    assert found.users == 3
    assert found.precision == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)
    assert found.recall == pytest.approx((1 + 1 + 0) / 3)
    assert found.ceiling == pytest.approx((2 + 1 + 1) / 9)
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert found.ndcg == pytest.approx(((1 + third) / (1 + second) + second + 0) / 3)
    # 10, 11, 12 and 20; the list of a user who is not judged does not count.
    assert found.coverage == pytest.approx(0.4)


def test_measures_of_perfect_lists_of_none_and_of_chance() -> None:
    hits = {1: {1, 2, 3}, 2: {4}}
    perfect = metrics.judge({1: [2, 3, 1, 7], 2: [4]}, hits, eligible=8, n=4)
    assert perfect.ndcg == pytest.approx(1) and perfect.recall == 1 and perfect.precision == perfect.ceiling
    none = metrics.judge({}, hits, eligible=8, n=4)
    assert none.precision == none.recall == none.ndcg == none.coverage == 0
    assert metrics.judge({}, {}, eligible=0).users == 0
    rng = np.random.default_rng(0)
    drawn = [metrics.judge({u: rng.permutation(8)[:4].tolist() for u in hits}, {1: {1, 2, 3}, 2: {4}}, 8, 4) for _ in range(4000)]
    expected = metrics.chance(hits, 8, 4)
    for name in ("precision", "recall", "ndcg", "coverage"):
        assert np.mean([getattr(d, name) for d in drawn]) == pytest.approx(getattr(expected, name), rel=0.05)


def test_rank_correlation_shares_ranks() -> None:
    a = np.array([1.0, 2, 3, 4])
    assert metrics.rank_correlation(a, a**3) == pytest.approx(1)
    assert metrics.rank_correlation(a, -a) == pytest.approx(-1)
    assert metrics.rank_correlation(a, np.ones(4)) == 0
    assert metrics.rank_correlation(np.array([1.0, 1, 2, 3]), np.array([1.0, 1, 2, 3])) == pytest.approx(1)


def draw(export: Path, out: Path, *more: str) -> Any:
    generate.generate(generate.parser().parse_args([str(export), str(out), "--users", "300", "--chunk", "100", *more]))
    return pq.read_table(out)


def test_drawn_interactions_are_the_same_again_and_cold_products_come_late(tmp_path: Path) -> None:
    export = tmp_path / "export"
    stand_in.write(export, 300, 0)
    first = draw(export, tmp_path / "a")
    assert first.equals(draw(export, tmp_path / "b"))
    assert not first.equals(draw(export, tmp_path / "c", "--seed", "1"))
    assert len(list((tmp_path / "a").iterdir())) == 3
    rows = {name: np.array(first[name].to_pylist()) for name in ("user_id", "item_id", "event")}
    day = (first["at"].cast("int64").to_numpy() - generate.BEGIN) / generate.DAY
    counts = [int((rows["event"] == event).sum()) for event in generate.EVENTS]
    assert counts == sorted(counts, reverse=True) and counts[-1] > 0
    assert day.min() >= 0 and day.max() < 90
    # Gone products are not met; a tenth is met in the last two weeks only.
    there = set(features.read_local(export, ["item_id"])["item_id"].to_pylist())
    before, after = set(rows["item_id"][day < 76]), set(rows["item_id"][day >= 76])
    assert before | after <= there
    assert 0.03 * len(there) < len(after - before) < 0.2 * len(there)
    never = draw(export, tmp_path / "d", "--cold", "1", "--late", "0")
    assert ((never["at"].cast("int64").to_numpy() - generate.BEGIN) / generate.DAY).min() >= 76


def test_manifests_of_the_stand_in_say_what_is_there(tmp_path: Path) -> None:
    stand_in.write(tmp_path, 120, 0)
    for path in tmp_path.glob(f"cursor=*/{features.MANIFEST}"):
        said = json.loads(path.read_text())
        table = pq.read_table([path.parent / name for name in said["files"]])
        assert table.num_rows == said["rows"] and sum(table["deleted"].to_pylist()) == said["deleted"]
        assert max(table["seq"].to_pylist()) == said["cursor"]


def test_the_packed_modules_are_whole_and_know_that_they_are_packed(tmp_path: Path) -> None:
    package.write(tmp_path / "packed.zip")
    code = "from scripts.recommender import generate, package; print(package.is_packed())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": "packed.zip"},
                         capture_output=True, text=True)  # fmt: skip
    assert ran.stdout.strip() == "True", ran.stderr
    assert not package.is_packed()
