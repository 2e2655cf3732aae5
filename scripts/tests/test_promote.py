"""The decision on answers whose truth is known, and drift on sets that differ or do not."""

import json
from pathlib import Path

import numpy as np

from scripts import drift, export, promote
from scripts.evaluate import Asked, Bundle
from scripts.measure import Answers
from scripts.taxonomy import HEADS

LABELS = {"category": ["jeans", "shirts", "tops"], "pattern": ["solid", "striped"]}
N = 240


def rows() -> list[dict[str, str]]:
    blank = dict.fromkeys(HEADS, "")
    return [
        blank | {"path": f"shop/{i}", "source": "shop", "split": "val", "product_id": f"p{i // 2}", "content": str(i),
                 "category": LABELS["category"][i // 2 % 3], "pattern": LABELS["pattern"][i // 4 % 2]}
        for i in range(N)
    ]  # fmt: skip


def scored(wrong: dict[str, float], labels: dict[str, list[str]] | None = None, seed: int = 1) -> promote.Scored:
    """A bundle that is wrong on a share of the photos of each head."""
    rng = np.random.default_rng(seed)
    table, labels = rows(), labels or LABELS
    logits = {}
    for head, names in labels.items():
        truth = np.array([names.index(r[head]) if r[head] in names else 0 for r in table])
        said = np.where(rng.random(N) < wrong[head], (truth + 1) % len(names), truth)
        logits[head] = np.eye(len(names), dtype=np.float32)[said]
    z = np.eye(3, dtype=np.float32)[[LABELS["category"].index(r["category"]) for r in table]]
    val = Answers(np.arange(N), logits, z)
    return promote.Scored(table, labels, Asked(val, Answers(np.zeros(0, np.int64), {}, z[:0]), {}))


GROUPS = np.arange(N) // 2


def test_clearly_better_is_promoted() -> None:
    decision = promote.decide(scored({"category": 0.3, "pattern": 0.2}), scored({"category": 0.1, "pattern": 0.1}), GROUPS,
                              "mean_macro_f1", {}, n=300)  # fmt: skip
    assert decision["promoted"], decision["reasons"]
    assert decision["chosen"]["p"] < 0.05
    assert decision["chosen"]["interval_95"][0] > 0


def test_the_same_model_is_not_better_than_itself() -> None:
    one = scored({"category": 0.2, "pattern": 0.2})
    decision = promote.decide(one, one, GROUPS, "category_accuracy", {}, n=100)
    assert not decision["promoted"]
    assert decision["chosen"]["p"] == 1
    assert "not better beyond chance" in decision["reasons"][0]


def test_a_head_that_is_worse_refuses_unless_that_is_stated() -> None:
    champion, challenger = scored({"category": 0.5, "pattern": 0.05}), scored({"category": 0.05, "pattern": 0.2})
    refused = promote.decide(champion, challenger, GROUPS, "mean_macro_f1", {}, n=100)
    assert not refused["promoted"] and "pattern is worse by" in refused["reasons"][0]
    assert promote.decide(champion, challenger, GROUPS, "mean_macro_f1", {"pattern": 0.5}, n=100)["promoted"]


def test_a_label_that_a_bundle_does_not_know_is_missed() -> None:
    fewer = LABELS | {"category": ["jeans", "shirts"]}
    narrow = scored({"category": 0.0, "pattern": 0.0}, fewer)
    assert narrow.f1("category", np.ones(N, np.int64)) < 0.8
    assert scored({"category": 0.0, "pattern": 0.0}).f1("category", np.ones(N, np.int64)) == 1


def test_nearest_neighbours_of_one_kind() -> None:
    assert np.nanmean(scored({"category": 0, "pattern": 0}).hits) == 1


def test_the_decision_is_written_into_the_bundle(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    files = {"model.onnx": b"graph"}
    export.publish(folder, files, {"version": "v", "heads": [], "files": {n: export.digest(d) for n, d in files.items()}})
    promote.record(Bundle.open(folder), {"promoted": False, "reasons": ["because"]})
    listing = json.loads((folder / "manifest.json").read_text())
    assert listing["files"]["decision.json"] == export.digest((folder / "decision.json").read_bytes())
    assert (folder / "model.onnx").read_bytes() == b"graph"


def test_drift_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    old, new = {"solid": 500, "striped": 100, "dotted": 3}, {"solid": 480, "striped": 110, "dotted": 4}
    assert all(t.p is None or t.p > 0.05 for t in drift.of_labels("pattern", old, new))
    moved = {t.test: t for t in drift.of_labels("pattern", old, {"solid": 200, "striped": 400})}
    assert moved["PSI"].value > drift.PSI_MUCH and moved["PSI"].meaning == "another population"
    assert (moved["chi-squared"].p or 0) < 1e-6
    same = rng.normal(size=400).tolist()
    assert (drift.of_values("x", same, rng.normal(size=400).tolist()).p or 0) > 0.05
    assert (drift.of_values("x", same, (rng.normal(size=400) + 0.5).tolist()).p or 1) < 0.01
    assert drift.of_labels("pattern", {}, new) == []  # nothing is said of a head that nobody labeled
