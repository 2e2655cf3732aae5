"""The rule of the search, and what a run of everything consists of."""

import argparse
from pathlib import Path

import numpy as np

from scripts import options, retrain, search


def test_within_the_noise_the_first_listed_is_taken() -> None:
    scores = np.array([[0.80, 0.82, 0.81], [0.79, 0.85, 0.81], [0.5, 0.5, 0.5]])
    assert scores.mean(1).argmax() == 1
    assert search.pick(scores) == 0


def test_what_is_clearly_better_is_taken() -> None:
    assert search.pick(np.array([[0.70, 0.71, 0.70], [0.81, 0.82, 0.81]])) == 1
    assert all(grid[0] == {} for grid in search.GRIDS.values())


def planned(tmp_path: Path, *arguments: str) -> list[retrain.Step]:
    folder = tmp_path / "corrections"
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("file,product_id\n")
    parser = argparse.ArgumentParser()
    options.add_common(parser)
    args = options.parse(parser, ["--own", str(folder), "--photos", str(tmp_path)])
    rest = {
        "recipe": "linear", "teacher": None, "out": tmp_path / "new", "champion": tmp_path / "old", "metric": "mean_macro_f1",
        "report": None, "regions": None, "views": 1, "folds": 3, "without": "", "skip_bad": False, "cloud": "none",
    }  # fmt: skip
    vars(args).update(rest)
    if "partial" in arguments:
        args.recipe = "partial"
    return retrain.steps(args, tmp_path)


def test_a_run_goes_from_photos_to_a_decision(tmp_path: Path) -> None:
    names = [s.name for s in planned(tmp_path)]
    assert names == ["prepare", "features", "train", "export", "quantize", "evaluate", "export", "promote", "report"]
    partial = planned(tmp_path, "partial")
    assert "partial" in [s.name for s in partial]
    assert "--maps" in next(s for s in partial if s.name == "features").arguments
    assert [s.refusal for s in partial if s.name == "promote"] == [1]


def test_a_step_asked_otherwise_is_another_step(tmp_path: Path) -> None:
    one, other = (planned(tmp_path, *a)[1] for a in ((), ("partial",)))
    assert retrain.key(one) != retrain.key(other)
    assert retrain.key(one) == retrain.key(planned(tmp_path)[1])


def test_every_step_is_a_module(tmp_path: Path) -> None:
    for step in planned(tmp_path, "partial"):
        here = options.REPOSITORY / "scripts" / step.name
        assert here.with_suffix(".py").exists() or (here / "__main__.py").exists(), step.name


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path) -> None:
    args = argparse.Namespace(folds=2, scores=None, out=tmp_path / "t.npz", seed=0)
    asked: list[tuple[dict[str, object], int]] = []

    def fit(stop_after: int) -> search.Fit:
        def one(how: argparse.Namespace, k: int) -> float | None:
            asked.append((vars(how), k))
            return None if len(asked) > stop_after else 0.5 + 0.3 * (getattr(how, "lr", 0) == 1e-4)

        return one

    assert search.search("full", args, fit(3)) is None
    assert len(asked) == 4
    assert search.search("full", args, fit(100)) == {"lr": 1e-4}
    assert len(asked) == 4 + 2 * len(search.GRIDS["full"]) - 3
    args.seed = 1
    search.search("full", args, fit(100))
    assert len(asked) == 4 + 4 * len(search.GRIDS["full"]) - 3, "other settings: all anew"
