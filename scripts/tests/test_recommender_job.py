"""The Spark job on two cores: its parts against numpy, and a small run from export to lists and scores."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

needed = "is missing: pip install -r scripts/recommender/requirements.txt"
pa = pytest.importorskip("pyarrow", reason=f"pyarrow {needed}")
pytest.importorskip("pyspark", reason=f"pyspark {needed}")
java = shutil.which("java", path=f"{os.environ['JAVA_HOME']}/bin" if "JAVA_HOME" in os.environ else None)
if java is None or subprocess.run([java, "-version"], capture_output=True).returncode:
    pytest.skip("Java is missing: apt-get install openjdk-17-jre-headless", allow_module_level=True)

import pyarrow.parquet as pq  # noqa: E402

from scripts.recommender import (  # noqa: E402
    catalogue,
    content,
    features,
    generate,
    ids,
    job,
    measure,
    stand_in,
    topn,
)

ITEMS, USERS = 500, 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export and interactions."""
    made = tmp_path_factory.mktemp("recommender")
    stand_in.write(made / "export", ITEMS, 0)
    options = ["--users", str(USERS), "--cold", "0.2"]
    generate.generate(generate.parser().parse_args([str(made / "export"), str(made / "interactions"), *options]))
    return made


@pytest.fixture(scope="module")
def options(folder: Path) -> Any:
    given = ["--features", str(folder / "export"), "--interactions", str(folder / "interactions"), "--out", str(folder / "out"),
             "--work", str(folder / "work"), "--master", "local[2]", "--rank", "8", "--iterations", "4", "--trees", "4",
             "--depth", "5", "--partitions", "2", "--blocks", "2", "--conf", "spark.driver.memory=1g",
             "--conf", "spark.ui.enabled=false"]  # fmt: skip
    return job.parser().parse_args(given)


@pytest.fixture(scope="module")
def spark(options: Any) -> Any:
    made = job.session(options)
    yield made
    made.stop()


def test_spark_reads_what_pyarrow_reads(spark: Any, folder: Path) -> None:
    read = catalogue.read(spark, str(folder / "export")).collect()
    local = features.read_local(folder / "export", ["item_id", "price"]).to_pylist()
    assert {row["item_id"]: row["price"] for row in read} == {row["item_id"]: row["price"] for row in local}
    some = next(row for row in read if row["embedding"])
    assert any(token.startswith("color=") for token in some["tokens"]) and any(
        token.startswith("gender=") for token in some["tokens"]
    )
    assert len(some["tokens"]) == len(some["strengths"])


def test_numbers_are_the_rank_of_an_id_however_the_table_is_cut(spark: Any, tmp_path: Path) -> None:
    names = [f"id-{k}" for k in np.random.default_rng(0).permutation(1000)]
    for cuts in (1, 7):
        table = spark.createDataFrame([(name,) for name in names * 2], ["name"]).repartition(cuts)
        found = {row["name"]: row["n"] for row in ids.number(table, "name", "n", str(tmp_path / "numbers")).collect()}
        assert found == {name: rank for rank, name in enumerate(sorted(names))}


def test_top_n_is_exact_in_blocks_and_leaves_out_what_was_seen(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topn, "USERS", 16)
    monkeypatch.setattr(topn, "ITEMS", 32)
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(200, 4)).astype(np.float32)
    group = (np.arange(200) % 5 == 0).astype(int)
    seen = [sorted(rng.choice(200, 20, replace=False).tolist()) if u % 3 else None for u in range(50)]
    left = spark.createDataFrame(
        [(u, users[u].tolist(), seen[u]) for u in range(50)], "user int, factor array<float>, seen array<int>"
    )
    right = spark.createDataFrame(
        [(i, items[i].tolist(), int(group[i])) for i in range(200)], "item int, factor array<float>, grp int"
    )
    rows = topn.top_n(left, right, 7, str(tmp_path / "lists"), spread=3).collect()
    got = {(row["user"], row["grp"], row["rank"]): row["item"] for row in rows}
    score = users @ items.T
    for u in range(50):
        score[u, seen[u] or []] = -np.inf
        for g in (0, 1):
            own = np.flatnonzero(group == g)
            best = own[np.argsort(-score[u, own])][:7]
            assert [got[u, g, rank] for rank in range(1, 8)] == best.tolist()
    assert len(got) == 50 * 2 * 7


def test_ridge_finds_a_linear_map_and_unknown_tokens_count_nothing() -> None:
    how = content.Design(4, ("color=blue", "color=red"), 1.0, 2.0)
    batch = pa.record_batch({
        "tokens": pa.array([["color=red", "color=lilac"], [], ["color=blue"]]),
        "strengths": pa.array([[0.5, 0.9], [], [1.0]], pa.list_(pa.float32())),
        "price": pa.array([np.e, None, 0.0]),
        "embedding": pa.array([[0.5] * 4, None, [1.0, 0, 0, 0]], pa.list_(pa.float32())),
    })  # fmt: skip
    x = content.vectors(batch, how)
    assert x.tolist() == [[1, 1, 1, 1, 0, 0, 0.5, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0, 0, 1, 1], [2, 0, 0, 0, 0, 1, 0, 0, 1, 1]]
    rng = np.random.default_rng(0)
    x, truth = np.hstack([rng.normal(size=(500, 9)), np.ones((500, 1))]), rng.normal(size=(10, 3))
    found = content.Moments(x.T @ x, x.T @ (x @ truth), 500.0)
    assert np.allclose(content.ridge(found, 0.0), truth, atol=1e-3)
    assert np.abs(content.ridge(found, 100.0)[:-1]).max() < 0.1


def test_cold_products_are_found_by_features_and_only_by_them(
    spark: Any, folder: Path, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, values in (("PENALTIES", [0.1]), ("KS", [0.0]), ("BETAS", [0.3])):
        monkeypatch.setattr(measure, name, values)
    report = job.run(options)
    figures = report["figures"]
    alone, both, chance = (figures[name]["cold"] for name in ("ALS alone", "ALS with features", "random"))
    assert alone["users"] > 50
    assert alone["precision"] == alone["coverage"] == 0
    assert both["precision"] > 1.5 * chance["precision"] and both["ndcg"] > 1.5 * chance["ndcg"]
    assert figures["ALS alone"]["warm"]["precision"] > 1.5 * figures["random"]["warm"]["precision"]
    assert figures["ALS with features"]["joint"]["coverage"] > figures["most popular"]["joint"]["coverage"]
    assert json.loads((folder / "out/report.json").read_text())["figures"] == figures

    there = set(features.read_local(folder / "export", ["item_id"])["item_id"].to_pylist())
    scores = pq.read_table(folder / "out/scores").to_pydict()
    assert set(scores["product_id"]) == there and len(scores["product_id"]) == len(there)
    assert 0 <= min(scores["popularity"]) < max(scores["popularity"]) <= 1
    written = [row for part in (folder / "out/scores_csv").glob("*.csv") for row in csv.DictReader(part.open())]
    assert {row["product_id"]: float(row["popularity"]) for row in written} == dict(zip(*scores.values(), strict=True))

    interactions = pq.read_table(folder / "interactions").to_pydict()
    known = set(zip(interactions["user_id"], interactions["item_id"], strict=True))
    lists = pq.read_table(folder / "out/top_n")
    assert lists.schema.names == ["user_id", "rank", "item_id", "score"]
    rows = lists.to_pylist()
    assert {row["user_id"] for row in rows} == set(interactions["user_id"])
    assert len(rows) == 10 * USERS and len({(row["user_id"], row["item_id"]) for row in rows}) == len(rows)
    assert all(row["item_id"] in there and (row["user_id"], row["item_id"]) not in known for row in rows)
    first = [row for row in rows if row["user_id"] == rows[0]["user_id"]]
    assert [row["rank"] for row in first] == list(range(1, 11))
    assert [row["score"] for row in first] == sorted((row["score"] for row in first), reverse=True)
