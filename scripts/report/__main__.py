"""``python -m scripts.report --model models/NEW --champion models/default``: one self-contained HTML file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import answers, dataset, drift, evaluate, files, measure, options
from ..evaluate import Bundle
from . import html, sections


def read(bundle: Bundle, name: str) -> dict[str, Any] | None:
    """A JSON file of the bundle, if it has it."""
    if name not in bundle.listing["files"]:
        return None
    found: dict[str, Any] = json.loads((bundle.folder / name).read_text())
    return found


def page(args: argparse.Namespace, rows: list[dataset.Row], bundle: Bundle, champion: Bundle | None) -> str:
    """The whole page."""
    asked = evaluate.ask(bundle, args, rows)
    figures = measure.figures(rows, bundle.labels, asked.seen, asked.queries)
    if "model.int8.onnx" in bundle.listing["files"]:
        small = evaluate.ask(bundle, args, rows, small=True)
        figures["int8"] = measure.figures(rows, bundle.labels, small.seen, small.queries)
    own = drift.profile(rows, asked.gallery, args.sources, args.seed)
    figures["training"] = own
    about = read(bundle, "training.json") or {}
    said = sections.settled(rows, bundle, asked.val, figures)
    found = read(bundle, "decision.json")
    then = read(champion, "training.json") if champion else None
    out = [f"<h1>Model report: {html.text(bundle.listing['name'])}</h1>"]
    if found:
        out += ["<h2>Champion against challenger</h2>", sections.decision(found)]
    out += ["<h2>What it is</h2>", sections.summary(bundle, {"sources": args.sources, "seed": args.seed} | about, figures)]
    out += ["<h2>Heads</h2>", sections.heads(figures)]
    out += [sections.by_label(h, a["labels"], a["predicted"], a["truth"]) for h, a in said.items()]
    out += ["<h2>Calibration</h2><p>Dots on the diagonal: of what it says with confidence 0.8, four in five are right.</p>",
            sections.reliability(said)]  # fmt: skip
    out += ["<h2>Retrieval</h2>", sections.retrieval(figures), "<h3>Nearest neighbours</h3>", sections.neighbours(rows, asked)]
    out += ["<h2>int8 against f32</h2>", sections.int8(figures)]
    out += ["<h2>Labels of the training set</h2>", sections.distributions(rows, then)]
    if champion and then:
        some = drift.sampled(rows)
        old = answers.kept(args.answers, champion.model(True), rows, some, "clean", args.seed, args.workers)
        seen = old.z[:, : drift.COMPONENTS]
        out += ["<h2>Drift against the champion's training data</h2>", sections.drifted(drift.compare(then, own, seen))]
    elif champion:
        out += ["<h2>Drift</h2><p>The champion's bundle has no profile of its training data (training.json).</p>"]
    out += ["<h2>Pictures</h2>", sections.mistakes(rows, said, figures)]
    title = html.text(f"Model report {bundle.version}")
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f"{head}<title>{title}</title><style>{html.STYLE}</style>{''.join(out)}</html>\n"


def main() -> None:
    """Ask, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m scripts.report", description=__doc__)
    options.add_common(parser)
    evaluate.add_options(parser)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--champion", type=Path, help="the bundle that it is held against")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    champion = Bundle.open(args.champion) if args.champion else None
    text = page(args, rows, Bundle.open(args.model), champion)
    files.write_text(args.out, text)
    print(f"{args.out}: {len(text) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
