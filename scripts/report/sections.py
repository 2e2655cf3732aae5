"""The report's sections: each takes figures and answers, and gives markup."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from .. import dataset, drift, measure
from ..card import LICENCES
from ..evaluate import Asked, Bundle
from . import html
from .html import table, text

#: Labels of a confusion matrix; rarer ones are taken together.
MOST_LABELS = 24


def summary(bundle: Bundle, about: dict[str, Any], figures: dict[str, Any]) -> str:
    """What it is, what it was trained on, with which settings, and on what machine this report ran."""
    facts = [
        ("version", bundle.version), ("recipe", about.get("recipe", "")), ("seed", about.get("seed", "")),
        ("training photos", figures.get("training", {}).get("photos", "")),
        ("files", ", ".join(f"{n} ({f['bytes'] / 1e6:.1f} MB)" for n, f in bundle.listing["files"].items() if "bytes" in f)),
        ("measured with", f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}"),
    ]  # fmt: skip
    own = ("a training set of your own", "yours to know")
    used = [*about.get("sources", []), *(["parsing"] if bundle.listing.get("regions") else [])]
    data = [(s, what, licence.replace("*", "")) for s in used for what, licence in [LICENCES.get(s, own)]]
    settings = [(k, v) for k, v in sorted(about.get("settings", {}).items())]
    return (
        table(("", ""), [(k, v) for k, v in facts if v != ""], "words")
        + "<h3>Data and licences</h3>" + table(("set", "what", "licence of the photos"), data, "words")
        + f"<details><summary>{len(settings)} settings</summary>{table(('setting', 'value'), settings)}</details>"
    )  # fmt: skip


def heads(figures: dict[str, Any]) -> str:
    """Accuracy and macro-F1 with intervals, calibration, and what is asserted."""
    rows = []
    for name, f in figures["heads"].items():
        if not f["n"]:
            continue
        a, m = f["accuracy_95"], f["macro_f1_95"]
        accuracy, macro = f"{f['accuracy']:.3f} ({a[0]:.3f} to {a[1]:.3f})", f"{f['macro_f1']:.3f} ({m[0]:.3f} to {m[1]:.3f})"
        asserted = f"{100 * f['coverage']:.0f} %"
        rows.append(
            (name, f["n"], accuracy, macro, f"{f['ece']:.3f}", f"{f['temperature']:.2f}", asserted, f"{f['precision']:.3f}")
        )
    explain = ("Intervals hold 95 % (Wilson; bootstrap for macro-F1). Asserted: the share of photos on which the model commits "
               "itself, and how often it is right then; of the others it says that it is unsure.")  # fmt: skip
    return (
        table(("head", "photos", "accuracy", "macro-F1", "calibration error", "temperature", "asserted", "right then"), rows)
        + f"<p>{explain}</p>"
    )


def by_label(name: str, labels: list[str], predicted: np.ndarray, truth: np.ndarray) -> str:
    """Precision and recall of every label with 95 % intervals, and the confusion matrix."""
    rows = []
    for k in np.unique(truth):
        hit, said, there = int(((truth == k) & (predicted == k)).sum()), int((predicted == k).sum()), int((truth == k).sum())
        p, r = measure.wilson(hit, said), measure.wilson(hit, there)
        rows.append(
            (
                labels[k],
                there,
                f"{hit / said if said else 0:.2f} ({p[0]:.2f} to {p[1]:.2f})",
                f"{hit / there:.2f} ({r[0]:.2f} to {r[1]:.2f})",
            )
        )
    common = np.argsort(-np.bincount(truth, minlength=len(labels)))[:MOST_LABELS]
    common = np.array([k for k in common if (truth == k).any()])
    cells = []
    for k in common:
        of = predicted[truth == k]
        cells.append(
            [labels[k], *(html.heat(float((of == j).mean())) for j in common), html.heat(float((~np.isin(of, common)).mean()))]
        )
    matrix = table(["true, in % of its photos", *(labels[k] for k in common), "other"], cells, "heat")
    return (f"<details><summary>{text(name)}: precision, recall and confusion of {len(rows)} labels</summary>"
            f"{table(('label', 'photos', 'precision', 'recall'), rows)}{matrix}</details>")  # fmt: skip


def settled(rows: list[dataset.Row], bundle: Bundle, said: measure.Answers, figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Per head: which val photos are known, what was predicted with which confidence, what is true."""
    out = {}
    for head, names in bundle.labels.items():
        accepted = dataset.targets(rows, {head: names})[head][said.photo]
        known = np.flatnonzero(accepted.sum(1) > 0)
        if len(known):
            p = measure.softmax(said.logits[head][known] / figures["heads"][head]["temperature"])
            predicted = p.argmax(1)
            out[head] = {"photo": said.photo[known], "predicted": predicted, "confidence": p.max(1),
                         "truth": measure.settled(predicted, accepted[known]), "labels": names}  # fmt: skip
    return out


def reliability(answers: dict[str, dict[str, Any]]) -> str:
    """One diagram a head."""
    charts = []
    for head, a in answers.items():
        right = a["predicted"] == a["truth"]
        which = np.minimum((a["confidence"] * 10).astype(int), 9)
        points = [(float(a["confidence"][which == b].mean()), float(right[which == b].mean()), int((which == b).sum()))
                  for b in range(10) if (which == b).any()]  # fmt: skip
        charts.append(html.reliability(points, head))
    return f'<div class="charts">{"".join(charts)}</div>'


def mistakes(rows: list[dataset.Row], answers: dict[str, dict[str, Any]], figures: dict[str, Any], most: int = 10) -> str:
    """The surest mistakes and the least sure photos of each head, as pictures."""
    out = []
    for head, a in answers.items():
        wrong = np.flatnonzero(a["predicted"] != a["truth"])
        sure = wrong[np.argsort(-a["confidence"][wrong])][:most]
        unsure = np.argsort(a["confidence"])[:most]

        def shown(chosen: np.ndarray, a: dict[str, Any] = a) -> str:
            names = a["labels"]
            return '<div class="photos">' + "".join(
                html.picture(Path(rows[a["photo"][k]]["file"]),
                             f"says {text(names[a['predicted'][k]])} ({a['confidence'][k]:.2f})<br>"
                             f"label {text(names[a['truth'][k]])}")
                for k in chosen) + "</div>"  # fmt: skip

        out.append(f"<details><summary>{text(head)}: the surest mistakes and the unsure</summary>"
                   f"<h3>Surest mistakes</h3>{shown(sure)}"
                   f"<h3>Least sure</h3>{shown(unsure)}</details>")  # fmt: skip
    return "".join(out)


def neighbours(rows: list[dataset.Row], asked: Asked, queries: int = 8, most: int = 6) -> str:
    """Val photos and what is nearest to them in the whole gallery."""
    seen = asked.seen
    chosen = np.random.default_rng(0).permutation(len(asked.val.photo))[:queries]
    out = []
    for k in chosen:
        photo = int(asked.val.photo[k])
        s = asked.val.z[k] @ seen.z.T
        s[seen.photo == photo] = -2
        near = np.argsort(-s)[:most]
        query = html.picture(Path(rows[photo]["file"]), f"<b>query</b><br>{text(rows[photo]['category'])}")
        found = "".join(
            html.picture(Path(rows[seen.photo[j]]["file"]), f"{s[j]:.3f}<br>{text(rows[seen.photo[j]]['category'])}")
            for j in near
        )
        out.append(f'<div class="photos row">{query}{found}</div>')
    return "".join(out)


def retrieval(figures: dict[str, Any]) -> str:
    """Retrieval figures as a table."""
    names = {
        "p10_all": "P@10 by category, val queries in all photos", "p10_all_color": "P@10 by category and base color",
        "p10_catalog": "P@10 by category, catalog queries in all catalog photos",
        "p10_catalog_color": "the same by category and base color",
        "recall_query": "a changed photo finds its own file first",
        "recall_query_same_bytes": "the same, byte-identical twins counting",
        "recall_hard": "a harder crop finds its own file first",
        "recall_hard_same_bytes": "the same, byte-identical twins counting",
        "pairs_all": "a studio photo finds its catalog twin first, all pairs", "pairs_val": "the same, pairs that never trained",
    }  # fmt: skip
    found = figures["retrieval"]
    return table(("figure", "value"), [(what, f"{found[k]:.4f}") for k, what in names.items() if k in found])


def distributions(rows: list[dataset.Row], champion: dict[str, Any] | None) -> str:
    """Labels of the training set, beside those of the champion's."""
    own, charts = drift.label_counts(rows), []
    for head, counts in own.items():
        names = sorted(counts, key=lambda n: -counts[n])[:16]
        total = sum(counts.values()) or 1
        series: dict[str, list[float]] = {"this": [counts[n] / total for n in names]}
        if champion:
            then = champion["labels"].get(head, {})
            series["champion"] = [then.get(n, 0) / (sum(then.values()) or 1) for n in names]
        if names:
            charts.append(html.bars(names, series, f"{head}, {total} labels"))
    return f'<div class="charts">{"".join(charts)}</div>'


def drifted(tests: list[drift.Test]) -> str:
    """The tests and what they mean."""
    rows = [(t.what, t.test, f"{t.value:.4f}", "" if t.p is None else f"{t.p:.4f}", t.meaning) for t in tests]
    explain = ("Read with the sizes in mind: with thousands of labels chi-squared calls any difference one. PSI says how large "
               f"it is (below {drift.PSI_SOME} stable, above {drift.PSI_MUCH} another population).")  # fmt: skip
    return table(("what", "test", "statistic", "p", "meaning"), rows) + f"<p>{explain}</p>"


def decision(found: dict[str, Any]) -> str:
    """Champion against challenger, and what was decided."""
    c = found["chosen"]
    verdict = "promoted" if found["promoted"] else "refused"
    reasons = "".join(f"<li>{text(r)}</li>" for r in found["reasons"])
    low, high = c["interval_95"]
    rows: list[tuple[object, ...]] = [
        (f"{found['metric']} (the chosen metric)", f"{c['champion']:.4f}", f"{c['challenger']:.4f}", html.signed(c["difference"]),
         f"{low:+.4f} to {high:+.4f}", f"{c['p']:.4f}", "")
    ]  # fmt: skip
    for head, f in found["heads"].items():
        low, high = f["interval_95"]
        rows.append((f"{head}, macro-F1", f"{f['champion']:.4f}", f"{f['challenger']:.4f}", html.signed(f["difference"]),
                     f"{low:+.4f} to {high:+.4f}", f"{f['p']:.4f}", f"{f['margin']:.3f}"))  # fmt: skip
    explain = (f"Paired bootstrap: the same {found['photos']} photos of {found['products']} products, products drawn "
               f"{found['draws']} times; p is the share of draws in which the challenger is not better.")  # fmt: skip
    return (
        f'<div class="verdict {verdict}"><b>{text(found["challenger"])} {verdict}</b> against {text(found["champion"])}'
        f"<ul>{reasons}</ul></div>"
        + table(("", "champion", "challenger", "difference", "95 %", "p", "may lose"), rows) + f"<p>{explain}</p>"
    )  # fmt: skip


def int8(figures: dict[str, Any]) -> str:
    """f32 against int8."""
    if "int8" not in figures:
        return "<p>The bundle has no int8 file.</p>"
    a, b = figures, figures["int8"]
    rows: list[tuple[str, float, float]] = [
        ("category, frequent catalog labels", a["category_30"]["accuracy"], b["category_30"]["accuracy"])
    ]
    rows += [(f"{h} accuracy", f["accuracy"], b["heads"][h]["accuracy"]) for h, f in a["heads"].items() if f["n"]]
    rows += [(k, v, b["retrieval"][k]) for k, v in a["retrieval"].items() if not k.startswith("n_") and k in b["retrieval"]]
    return table(("figure", "f32", "int8", "difference"), [(n, f"{x:.4f}", f"{y:.4f}", html.signed(y - x)) for n, x, y in rows])
