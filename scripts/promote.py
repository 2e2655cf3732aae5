"""Lets a challenger take the champion's place only if it is better beyond chance and no head is worse than allowed.

Both answer the same validation photos. Products are drawn with replacement (paired bootstrap, Efron 1979): the share of
draws in which the challenger is not better is p. The decision, with its figures, is written into the challenger's bundle.
Exit code 0: promoted; 1: refused.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import dataset, evaluate, export, measure, options
from .evaluate import Asked, Bundle

DRAWS = 2_000
ALPHA = 0.05
METRICS = ("mean_macro_f1", "category_accuracy", "p10_all")
#: A head may be worse by this much macro-F1 where nothing else is stated: about what another seed brings.
MARGIN = 0.01


def f1_by_head(rows: list[dataset.Row], labels: dict[str, list[str]], said: measure.Answers) -> dict[str, tuple[Any, Any, Any]]:
    """Per head (photos with a known label, what was predicted, what is true), labels as codes of their names.

    A label that the bundle does not know counts as missed: two bundles are judged on the same photos.
    """
    out = {}
    for head, own in labels.items():
        names = sorted({*own, *dataset.label_sets(rows)[head]})
        accepted = dataset.targets(rows, {head: names})[head][said.photo]
        known = np.flatnonzero(accepted.sum(1) > 0)
        if len(known) >= 20 and head in said.logits:
            code = np.array([names.index(name) for name in own], np.int64)
            predicted = code[said.logits[head][known].argmax(1)]
            out[head] = (known, predicted, measure.settled(predicted, accepted[known]))
    return out


def hits_at_10(rows: list[dataset.Row], asked: Asked) -> NDArray[np.float64]:
    """For each val photo the share of its ten nearest with its category, NaN where it has none."""
    label, gallery = dataset.codes([r["category"] for r in rows]), asked.seen
    who, there = asked.val.photo, gallery.photo
    return measure.shares_at(asked.val.z, gallery.z, label[who], label[there], who, there)


class Scored:
    """What a metric needs of one bundle, so that a draw of photos gives its value."""

    def __init__(self, rows: list[dataset.Row], labels: dict[str, list[str]], asked: Asked) -> None:
        self.heads = f1_by_head(rows, labels, asked.val)
        self.hits = hits_at_10(rows, asked) if len(asked.seen.photo) > 10 else np.full(len(asked.val.photo), np.nan)
        self.n = len(asked.val.photo)

    def f1(self, head: str, weight: NDArray[np.int64]) -> float:
        """Macro-F1 of a head where photo i counts `weight[i]` times."""
        known, predicted, truth = self.heads[head]
        times = weight[known]
        return measure.f1_of(predicted.repeat(times), truth.repeat(times)) if times.any() else 0.0

    def value(self, metric: str, weight: NDArray[np.int64]) -> float:
        """The metric where photo i counts `weight[i]` times."""
        if metric == "mean_macro_f1":
            return float(np.mean([self.f1(head, weight) for head in self.heads]))
        if metric == "category_accuracy":
            known, predicted, truth = self.heads["category"]
            return float(np.average(predicted == truth, weights=weight[known]))
        there = ~np.isnan(self.hits)
        return float(np.average(self.hits[there], weights=weight[there]))


def draws(groups: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """(n, photos): how often each photo counts when its product is drawn with replacement."""
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    return np.stack([np.bincount(rng.integers(0, count, count), minlength=count)[groups] for _ in range(n)])


def decide(champion: Scored, challenger: Scored, groups: NDArray[np.int64], metric: str, margins: dict[str, float],
           seed: int = 0, n: int = DRAWS) -> dict[str, Any]:  # fmt: skip
    """The decision and its figures."""
    once = np.ones(champion.n, np.int64)
    weights = draws(groups, n, seed)
    heads = sorted(set(champion.heads) & set(challenger.heads))
    out: dict[str, Any] = {"metric": metric, "draws": n, "alpha": ALPHA, "photos": champion.n, "products": int(groups.max()) + 1}

    def pair(value: Any) -> dict[str, Any]:
        a, b = value(champion, once), value(challenger, once)
        differences = np.array([value(challenger, w) - value(champion, w) for w in weights])
        low, high = np.quantile(differences, [0.025, 0.975])
        p = float((1 + (differences <= 0).sum()) / (1 + n))
        return {"champion": a, "challenger": b, "difference": b - a, "interval_95": [float(low), float(high)], "p": p}

    out["chosen"] = pair(lambda s, w: s.value(metric, w))
    out["heads"] = {h: pair(lambda s, w, h=h: s.f1(h, w)) | {"margin": margins.get(h, MARGIN)} for h in heads}
    reasons = []
    if out["chosen"]["difference"] <= 0 or out["chosen"]["p"] >= ALPHA:
        reasons.append(f"{metric} is not better beyond chance: {out['chosen']['difference']:+.4f}, p = {out['chosen']['p']:.3f}")
    reasons += [
        f"{h} is worse by {-f['difference']:.4f} macro-F1, allowed are {f['margin']:.4f}"
        for h, f in out["heads"].items() if f["difference"] < -f["margin"]
    ]  # fmt: skip
    lost = sorted(set(champion.heads) - set(challenger.heads))
    reasons += [f"head {h} is gone" for h in lost]
    return out | {"promoted": not reasons, "reasons": reasons}


def compare(args: argparse.Namespace, rows: list[dataset.Row], champion: Bundle, challenger: Bundle) -> dict[str, Any]:
    """Ask both and decide."""
    gallery = args.metric == "p10_all"
    scored = [Scored(rows, b.labels, evaluate.ask(b, args, rows, gallery=gallery)) for b in (champion, challenger)]
    val = [r for r in rows if r["split"] == "val"]
    products = dataset.codes([r["product_id"] for r in val])
    decision = decide(scored[0], scored[1], products, args.metric, dict(args.margin), args.seed)
    about = {"champion": champion.version, "challenger": challenger.version, "seed": args.seed}
    return about | decision | {"date": datetime.date.today().isoformat()}


def text(decision: dict[str, Any]) -> str:
    """The decision for a terminal."""
    c = decision["chosen"]
    verdict = "promoted" if decision["promoted"] else "refused"
    low, high = c["interval_95"]
    out = [f"{decision['challenger']} against {decision['champion']}: {verdict}",
           f"  {decision['metric']}: {c['champion']:.4f} -> {c['challenger']:.4f}, 95 % of the difference {low:+.4f} to "
           f"{high:+.4f}, p = {c['p']:.4f}"]  # fmt: skip
    for head, f in decision["heads"].items():
        out.append(f"  {head}: {f['champion']:.4f} -> {f['challenger']:.4f} ({f['difference']:+.4f}, p = {f['p']:.4f})")
    return "\n".join(out + [f"  because {reason}" for reason in decision["reasons"]])


def margin(text_: str) -> tuple[str, float]:
    """`pattern=0.02`."""
    head, _, value = text_.partition("=")
    try:
        return head, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEAD=SHARE, received {text_!r}") from None


def record(bundle: Bundle, decision: dict[str, Any]) -> None:
    """Write the decision into the bundle."""
    data = (json.dumps(decision, indent=1, sort_keys=True) + "\n").encode()
    held = {name: (bundle.folder / name).read_bytes() for name in bundle.listing["files"]} | {"decision.json": data}
    listing = {**bundle.listing, "files": {**bundle.listing["files"], "decision.json": export.digest(data)}}
    export.publish(bundle.folder, held, listing)


def place(bundle: Bundle, folder: Path) -> None:
    """Publish a bundle under another name, its card included."""
    held = {name: (bundle.folder / name).read_bytes() for name in bundle.listing["files"]}
    if "CARD.md" in held:
        title = "# Model card: {}\n"
        old, new = (title.format(name).encode() for name in (bundle.listing["name"], folder.name))
        held["CARD.md"] = held["CARD.md"].replace(old, new, 1)
    known = {name: export.digest(data) for name, data in held.items()}
    export.publish(folder, held, {**bundle.listing, "name": folder.name, "files": known})


def main() -> None:
    """Compare, decide, write; copy the challenger into the champion's place where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    evaluate.add_options(parser)
    parser.add_argument("--champion", type=Path, default=options.REPOSITORY / "models/default")
    parser.add_argument("--challenger", type=Path, required=True)
    parser.add_argument("--metric", choices=METRICS, default=METRICS[0])
    parser.add_argument("--margin", type=margin, action="append", default=[], metavar="HEAD=SHARE",
                        help=f"macro-F1 that a head may lose, {MARGIN} where not stated")  # fmt: skip
    parser.add_argument("--to", type=Path, help="copy the challenger there when it is promoted")
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    champion, challenger = Bundle.open(args.champion), Bundle.open(args.challenger)
    decision = compare(args, rows, champion, challenger)
    print(text(decision))
    record(challenger, decision)
    if not decision["promoted"]:
        raise SystemExit(1)
    if args.to:
        place(Bundle.open(args.challenger), args.to)
        print(f"{args.to}: version {challenger.version}")


if __name__ == "__main__":
    main()
