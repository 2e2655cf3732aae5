"""The rule of the search, and what a run of everything consists of."""

from pathlib import Path

import numpy as np

from scripts import options, retrain, search


def test_within_the_noise_the_first_listed_is_taken() -> None:
    scores = np.array([[0.80, 0.82, 0.81], [0.79, 0.85, 0.81], [0.5, 0.5, 0.5]])
    assert scores.mean(1).argmax() == 1
    assert search.pick(scores) == 0


def test_what_is_clearly_better_is_taken() -> None:
    assert search.pick(np.array([[0.70, 0.71, 0.70], [0.81, 0.82, 0.81]])) == 1
    assert search.GRID[0] == {}


def planned(tmp_path: Path, *arguments: str) -> list[retrain.Step]:
    import argparse

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
