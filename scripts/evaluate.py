"""Measures an exported bundle on validation photos with ONNX Runtime; prints and writes the figures.

Everything goes through the shipped files from the photo on. Validation photos and changed queries take `model.onnx`; the
gallery that they are searched in, many times as large, takes `model.int8.onnx` where the bundle has one (three times
faster; the figures say how far the two are apart on the photos that took both).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import answers, dataset, drift, files, measure, options, sources

QUERIES = ("query", "hard")


@dataclass
class Bundle:
    """A bundle's manifest and files."""

    folder: Path
    listing: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Refuses a folder without a manifest."""
        try:
            return cls(folder, json.loads((folder / "manifest.json").read_text()))
        except (OSError, ValueError) as e:
            raise SystemExit(f"{folder} is no bundle: {e}") from None

    @property
    def version(self) -> str:
        """The bundle's version."""
        return str(self.listing["version"])

    @property
    def labels(self) -> dict[str, list[str]]:
        """Labels by head."""
        return {h["name"]: h["labels"] for h in self.listing["heads"]}

    def model(self, small: bool = False) -> bytes:
        """`model.onnx`, or the int8 file where asked for and there."""
        file = self.folder / "model.int8.onnx"
        return file.read_bytes() if small and file.exists() else (self.folder / "model.onnx").read_bytes()


@dataclass
class Asked:
    """What a bundle said: val photos and the gallery as they are, and changed queries."""

    val: measure.Answers
    gallery: measure.Answers
    queries: dict[str, measure.Answers]

    @property
    def seen(self) -> measure.Answers:
        """Every photo once."""
        return answers.joined([self.val, self.gallery])


def ask(bundle: Bundle, args: argparse.Namespace, rows: list[dataset.Row], small: bool = False, gallery: bool = True) -> Asked:
    """Run the bundle's files over what the figures need; `small`: the int8 file throughout; without `gallery` val alone."""
    val = [i for i, r in enumerate(rows) if r["split"] == "val"]
    train = [i for i, r in enumerate(rows) if r["split"] != "val"]
    shop = [i for i in val if sources.is_shop(rows[i]["source"])]
    keep = args.answers
    model = bundle.model(small)
    own = answers.kept(keep, model, rows, val, "clean", args.seed, args.workers)
    if not gallery:
        return Asked(own, answers.stacked([], []), {})
    queries = {view: answers.kept(keep, model, rows, shop, view, args.seed, args.workers) for view in QUERIES if shop}
    return Asked(own, answers.kept(keep, bundle.model(True), rows, train, "clean", args.seed, args.workers), queries)


def between(a: measure.Answers, b: measure.Answers) -> dict[str, float]:
    """How far two files are apart on the same photos: embeddings' cosine, and how often categories agree."""
    cosine = (a.z * b.z).sum(1)
    same = (a.logits["category"].argmax(1) == b.logits["category"].argmax(1)).mean() if "category" in a.logits else 1.0
    return {"n": len(a.photo), "min_cosine": float(cosine.min()), "mean_cosine": float(cosine.mean()), "category": float(same)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every command that asks bundles takes."""
    parser.add_argument("--answers", type=Path, default=options.home() / "answers", help="where answers are kept")
    parser.add_argument("--workers", type=int, default=2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser)
    add_options(parser)
    parser.add_argument("--model", type=Path, default=options.REPOSITORY / "models/default")
    parser.add_argument("--out", type=Path, default=options.home() / "figures.json")
    args = options.parse(parser)
    rows = dataset.read(args.table, args.sources)
    bundle = Bundle.open(args.model)
    asked = ask(bundle, args, rows)
    figures = measure.figures(rows, bundle.labels, asked.seen, asked.queries)
    figures["version"] = bundle.version
    figures["training"] = drift.profile(rows, asked.gallery, args.sources, args.seed)
    if (args.model / "model.int8.onnx").exists():
        small = ask(bundle, args, rows, small=True)
        figures["int8"] = measure.figures(rows, bundle.labels, small.seen, small.queries)
        figures["agreement"] = {"int8": between(asked.val, small.val)}
    print(measure.lines(figures))
    print(json.dumps(figures["by_source"], indent=1))
    if "int8" in figures:
        print(measure.compared(figures, figures["int8"], ("f32", "int8")), figures["agreement"])
    files.write_text(args.out, json.dumps(figures, indent=1, sort_keys=True) + "\n")
    files.write_text(args.out.with_suffix(".md"), measure.lines(figures) + "\n")


if __name__ == "__main__":
    main()
