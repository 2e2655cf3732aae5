"""Figures: accuracy, calibration, thresholds, retrieval. Pure functions of arrays, and one table of all.

Why apart: training picks settings by the same figures that the evaluation of the exported file
prints, so they are computed by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import dataset

F32 = NDArray[np.float32]
Predict = Callable[[NDArray[np.float16]], tuple[dict[str, F32], F32]]
PRECISION = 0.95


def softmax(z: F32) -> F32:
    """Rows to probabilities."""
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True), np.float32)


def temperature(z: F32, accepted: F32) -> float:
    """The divisor of the logits with the least negative log-likelihood, by search."""
    grid = np.geomspace(0.4, 4.0, 60)
    losses = [float(-np.log((softmax(z / t) * accepted).sum(1) + 1e-9).mean()) for t in grid]
    return float(round(grid[int(np.argmin(losses))], 4))


def threshold(confidence: F32, right: NDArray[np.bool_], precision: float = PRECISION) -> tuple[float, float, float]:
    """(threshold, its coverage, its precision): the lowest confidence above which `precision` holds.

    Where it holds nowhere, the most precise cut that still covers a tenth.
    """
    order = np.argsort(-confidence)
    hits = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    least = max(5, len(order) // 20)
    allowed = np.flatnonzero(hits >= precision)
    allowed = allowed[allowed >= least - 1]
    if len(allowed):
        at = int(allowed[-1])
    else:
        tenth = max(least, len(order) // 10) - 1
        at = tenth + int(np.argmax(hits[tenth:]))
    return float(confidence[order[at]]), (at + 1) / len(order), float(hits[at])


def calibration_error(confidence: F32, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over equal-width bins."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(sum(abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean()
                     for b in range(bins) if (which == b).any()))  # fmt: skip


def settled(predicted: NDArray[np.int64], accepted: F32) -> NDArray[np.int64]:
    """The truth of each row: what was predicted where that is accepted, else the first accepted label."""
    right = accepted[np.arange(len(predicted)), predicted] > 0
    return np.where(right, predicted, accepted.argmax(1))


def f1_of(predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Mean F1 of the labels that occur in `truth`."""
    size = int(max(predicted.max(initial=0), truth.max(initial=0))) + 1
    said, there = np.bincount(predicted, minlength=size), np.bincount(truth, minlength=size)
    hit = np.bincount(truth[predicted == truth], minlength=size)
    return float((2 * hit[there > 0] / (said + there)[there > 0]).mean())


def macro_f1(predicted: NDArray[np.int64], accepted: F32) -> float:
    """Mean F1 of the labels that occur; an alternative that was accepted counts as the truth."""
    return f1_of(predicted, settled(predicted, accepted))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    z2 = 1.96**2
    p = hits / n
    middle, reach = p + z2 / (2 * n), 1.96 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return float((middle - reach) / (1 + z2 / n)), float((middle + reach) / (1 + z2 / n))


def f1_interval(predicted: NDArray[np.int64], truth: NDArray[np.int64], draws: int = 400) -> tuple[float, float]:
    """95 % interval of macro-F1 by bootstrap over rows, seeded."""
    rng = np.random.default_rng(0)
    some = [rng.integers(0, len(truth), len(truth)) for _ in range(draws)]
    low, high = np.quantile([f1_of(predicted[i], truth[i]) for i in some], [0.025, 0.975])
    return float(low), float(high)


def head(z: F32, accepted: F32, t: float | None = None, cut: float | None = None, intervals: bool = True) -> dict[str, Any]:
    """All figures of a head on rows whose label is known; `t` and `cut` are fitted where not given."""
    known = accepted.sum(1) > 0
    z, accepted = z[known], accepted[known]
    if not len(z):
        return {"n": 0}
    t = temperature(z, accepted) if t is None else t
    p = softmax(z / t)
    predicted = p.argmax(1)
    confidence = p.max(1)
    right = accepted[np.arange(len(z)), predicted] > 0
    if cut is None:
        cut = threshold(confidence, right)[0]
    asserted = confidence >= cut
    bounds: dict[str, Any] = {}
    if intervals:
        bounds["accuracy_95"] = wilson(int(right.sum()), len(right))
        bounds["macro_f1_95"] = f1_interval(predicted, settled(predicted, accepted))
    return {
        "n": len(z), "accuracy": float(right.mean()), "macro_f1": macro_f1(predicted, accepted),
        "ece": calibration_error(confidence, right), "temperature": t, "threshold": float(cut),
        "coverage": float(asserted.mean()), "precision": float(right[asserted].mean()) if asserted.any() else 0.0,
    } | bounds  # fmt: skip


def shares_at(query: F32, gallery: F32, query_label: NDArray[np.int64], gallery_label: NDArray[np.int64],
              query_id: NDArray[np.int64], gallery_id: NDArray[np.int64], k: int = 10) -> NDArray[np.float64]:  # fmt: skip
    """For each query the share of its k nearest with its label, NaN where it has none; its own photo is left out,
    unlabelled ones too."""
    keep = gallery_label >= 0
    gallery, gallery_label, gallery_id = gallery[keep], gallery_label[keep], gallery_id[keep]
    asked = np.flatnonzero(query_label >= 0)
    out = np.full(len(query), np.nan)
    for rows in np.array_split(asked, max(1, len(asked) // 256)):
        s = query[rows] @ gallery.T
        s[query_id[rows][:, None] == gallery_id[None, :]] = -2
        top = np.argpartition(-s, k, axis=1)[:, :k]
        out[rows] = (gallery_label[top] == query_label[rows][:, None]).mean(1)
    return out


def precision_at(query: F32, gallery: F32, query_label: NDArray[np.int64], gallery_label: NDArray[np.int64],
                 query_id: NDArray[np.int64], gallery_id: NDArray[np.int64], k: int = 10) -> float:  # fmt: skip
    """The mean of `shares_at` over labelled queries, 0 without any."""
    shares = shares_at(query, gallery, query_label, gallery_label, query_id, gallery_id, k)
    there = shares[~np.isnan(shares)]
    return float(there.mean()) if len(there) else 0.0


def retrieval(rows: list[dataset.Row], photo: NDArray[np.int64], z: F32) -> dict[str, float]:
    """P@10 of val queries, by category and by category and base color.

    The category cell counts as it stands, alternatives being one label of their own.
    """
    label = dataset.codes([rows[i]["category"] for i in photo])
    both = [(rows[i]["category"], rows[i]["base_color"]) for i in photo]
    colored = dataset.codes(["/".join(pair) if all(pair) else "" for pair in both])
    val = np.array([rows[i]["split"] == "val" for i in photo])
    catalog = np.array([rows[i]["source"] == "catalog" for i in photo])
    out = {}
    for name, query, gallery in (
        ("p10_all", val, val | ~val), ("p10_val", val, val), ("p10_catalog", val & catalog, catalog),
        ("p10_catalog_val", val & catalog, val & catalog),
    ):  # fmt: skip
        if query.sum() > 10:
            of = (photo[query], photo[gallery])
            out[name] = precision_at(z[query], z[gallery], label[query], label[gallery], *of)
            out[name + "_color"] = precision_at(z[query], z[gallery], colored[query], colored[gallery], *of)
    return out


@dataclass
class Answers:
    """What a model said: photo (n,) row in the table, logits per head (n, labels), embeddings (n, 256)."""

    photo: NDArray[np.int64]
    logits: dict[str, F32]
    z: F32


def figures(rows: list[dataset.Row], labels: dict[str, list[str]], seen: Answers,
            queries: dict[str, Answers]) -> dict[str, Any]:  # fmt: skip
    """Every figure: `seen` are clean photos (val and gallery), `queries` changed val photos by view."""
    val = np.array([rows[i]["split"] == "val" for i in seen.photo])
    catalog = np.array([rows[i]["source"] == "catalog" for i in seen.photo])
    accepted = dataset.targets(rows, labels)
    out: dict[str, Any] = {"heads": {}, "by_source": {}}
    for name in labels:
        out["heads"][name] = head(seen.logits[name][val], accepted[name][seen.photo[val]])
        for source in sorted({r["source"] for r in rows}):
            here = val & np.array([rows[i]["source"] == source for i in seen.photo])
            one = head(seen.logits[name][here], accepted[name][seen.photo[here]], t=1.0, cut=0.0)
            if one["n"] >= 20:
                out["by_source"].setdefault(source, {})[name] = {"n": one["n"], "accuracy": one["accuracy"]}
    out["category_30"] = category_30(rows, labels["category"], seen.photo[val], seen.logits["category"][val])
    out["retrieval"] = retrieval(rows, seen.photo, seen.z)
    product = dataset.codes([r["product_id"] for r in rows])
    title = dataset.codes([r["title"] for r in rows])
    content = dataset.codes([r["content"] for r in rows])
    copies = np.bincount(content[seen.photo[catalog]]) if catalog.any() else np.zeros(1, int)
    twin = catalog & (copies[np.minimum(content[seen.photo], len(copies) - 1)] > 1)
    out["twins"] = {"catalog": int(twin.sum()), "val": int((twin & val).sum())}
    g, gallery = seen.photo[catalog], seen.z[catalog]
    out["retrieval"] |= pairs(rows, seen, product) if catalog.any() else {}
    for view, asked in queries.items():
        here = np.array([rows[i]["source"] == "catalog" for i in asked.photo], bool)
        asked = Answers(asked.photo[here], {}, asked.z[here])
        if not len(asked.photo):
            continue
        nearest = np.concatenate([(q @ gallery.T).argmax(1) for q in np.array_split(asked.z, max(1, len(asked.z) // 256))])
        found = g[nearest]
        out["retrieval"][f"recall_{view}"] = float((found == asked.photo).mean())
        out["retrieval"][f"recall_{view}_same_bytes"] = float((content[found] == content[asked.photo]).mean())
        out["retrieval"][f"recall_{view}_same_title"] = float(
            ((product[found] == product[asked.photo]) | (title[found] == title[asked.photo])).mean()
        )
        out["retrieval"][f"n_{view}"] = len(asked.photo)
    return out


def pairs(rows: list[dataset.Row], seen: Answers, product: NDArray[np.int64]) -> dict[str, float]:
    """How often a studio photo finds a catalog photo of its own product first among all catalog photos; and whether the
    true 3:4 photo and the squashed one of a product give the same answer: cosine, and top labels that are equal (mean over
    heads and the least of a head)."""
    source = np.array([rows[i]["source"] for i in seen.photo])
    gallery = np.flatnonzero(source == "catalog")
    held = set(product[seen.photo[gallery]].tolist())
    asked = np.array([k for k in np.flatnonzero(source == "studio") if product[seen.photo[k]] in held], np.int64)
    if not len(asked):
        return {}
    nearest = (seen.z[asked] @ seen.z[gallery].T).argmax(1)
    right = product[seen.photo[gallery[nearest]]] == product[seen.photo[asked]]
    val = np.array([rows[i]["split"] == "val" for i in seen.photo[asked]])
    out = {"pairs_all": float(right.mean()), "n_pairs_all": len(right)}
    first = {int(p): int(k) for k, p in zip(gallery[::-1], product[seen.photo[gallery]][::-1], strict=True)}
    twin = np.array([first[p] for p in product[seen.photo[asked]].tolist()])
    alike = [float((z[asked].argmax(1) == z[twin].argmax(1)).mean()) for z in seen.logits.values()]
    out |= {"pairs_cosine": float((seen.z[asked] * seen.z[twin]).sum(1).mean())}
    out |= {"pairs_same_labels": float(np.mean(alike)), "pairs_same_labels_least": min(alike)} if alike else {}
    return out | ({"pairs_val": float(right[val].mean()), "n_pairs_val": int(val.sum())} if val.any() else {})


def on_cache(cache: Path, rows: list[dataset.Row], labels: dict[str, list[str]], columns: NDArray[np.int64],
             predict: Predict) -> dict[str, Any]:  # fmt: skip
    """Every figure from cached features; what is not cached is left out."""
    seen = dataset.views(cache, rows, ["clean"], columns)
    queries = {}
    for view in ("query", "hard"):
        asked = dataset.views(cache, rows, [view], columns)
        if len(asked):
            queries[view] = Answers(asked.photo, *predict(asked.x))
    return figures(rows, labels, Answers(seen.photo, *predict(seen.x)), queries)


def category_30(rows: list[dataset.Row], names: list[str], photo: NDArray[np.int64], z: F32) -> dict[str, float]:
    """Top-1 on val catalog photos whose label has at least 50 catalog photos."""
    frequent = dataset.frequent(rows, "category", 50, "catalog")
    asked = np.array([rows[i]["source"] == "catalog" and rows[i]["category"] in frequent for i in photo], bool)
    truth = [rows[i]["category"] for i in photo[asked]]
    right = [names[j] == t for j, t in zip(z[asked].argmax(1), truth, strict=True)]
    return {"labels": len(frequent), "n": len(truth), "accuracy": float(np.mean(right)) if truth else 0.0}


def lines(figures: dict[str, Any]) -> str:
    """The figures as a markdown table and a list; in brackets 95 % intervals (Wilson; bootstrap for macro-F1)."""
    out = ["| head | n | accuracy | macro-F1 | ECE | threshold | coverage | precision |", "| --- " * 8 + "|"]
    for name, f in figures["heads"].items():
        if f["n"]:
            a, m = f["accuracy_95"], f["macro_f1_95"]
            out.append(
                f"| {name} | {f['n']} | {f['accuracy']:.3f} ({a[0]:.3f} to {a[1]:.3f}) | {f['macro_f1']:.3f} ({m[0]:.3f} to "
                f"{m[1]:.3f}) | {f['ece']:.3f} | {f['threshold']:.2f} | {f['coverage']:.2f} | {f['precision']:.3f} |"
            )
    c = figures["category_30"]
    out += ["", f"- category, {c['labels']} frequent catalog labels: {c['accuracy']:.4f} (n {c['n']})"]
    out += [f"- {k}: {v:.4f}" if isinstance(v, float) else f"- {k}: {v}" for k, v in figures["retrieval"].items()]
    return "\n".join(out)


def compared(a: dict[str, Any], b: dict[str, Any], names: tuple[str, str]) -> str:
    """Two models' figures side by side as a markdown table."""
    out = [f"| figure | {names[0]} | {names[1]} | difference |", "| --- " * 4 + "|"]

    def line(what: str, x: float, y: float) -> None:
        out.append(f"| {what} | {x:.4f} | {y:.4f} | {y - x:+.4f} |")

    for head, f in a["heads"].items():
        if f["n"] and b["heads"].get(head, {}).get("n"):
            line(f"{head} accuracy", f["accuracy"], b["heads"][head]["accuracy"])
            line(f"{head} macro-F1", f["macro_f1"], b["heads"][head]["macro_f1"])
    line("category, frequent catalog labels", a["category_30"]["accuracy"], b["category_30"]["accuracy"])
    for name, value in a["retrieval"].items():
        if not name.startswith("n_") and name in b["retrieval"]:
            line(name, value, b["retrieval"][name])
    return "\n".join(out)
