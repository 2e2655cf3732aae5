"""``python -m scripts.retrain --own corrections --out models/NEW``: from labeled photos to a bundle, report and decision.

Runs prepare, features, teacher, train, regions, export, quantize, evaluate, promote and report, each in a process of its
own. Stopped or killed, the same command goes on: a step that ended is not run again, and the long ones go on within.
Exit code 0: promoted; 1: refused, with the reason (the bundle and its report are there); 75: stopped, come again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import files, interrupt, options, quantize

RECIPES = ("linear", "partial", "full")


@dataclass
class Step:
    """One command; `refusal` is an exit code that becomes the run's, `tolerated` one that does not."""

    name: str
    arguments: list[str]
    refusal: int | None = None
    tolerated: int | None = None


def steps(args: argparse.Namespace, run: Path) -> list[Step]:
    """The commands of a run, in order."""
    common = ["--photos", str(args.photos), "--weights", str(args.weights), "--cache", str(args.cache), "--seed", str(args.seed),
              "--table", str(run / "labels.csv")]  # fmt: skip
    if public := [s for s in args.sources if s not in {f.name for f in args.own}]:
        common += ["--sources", ",".join(public)]
    for folder in args.own:
        common += ["--own", str(folder)]
    trained, figures, soft = (str(run / n) for n in ("trained.npz", "figures.json", "soft.npz"))
    regions = str(args.regions or run / "regions.npz")
    to_learn = args.regions is None and (args.photos / "parsing").is_dir()
    has_regions = args.regions is not None or to_learn
    with_regions = ["--regions", regions] if has_regions else []
    partial = args.recipe == "partial"
    taught = ["--soft", soft] if args.teacher else []
    answers = ["--answers", str(args.cache / "answers")]
    out = str(args.out)
    leave = [*(["--skip-bad"] if args.skip_bad else []), *(["--without", args.without] if args.without else [])]
    views = ["--views", str(args.views), "--other-views", str(args.views), *(["--maps"] if partial else [])]
    plan = [Step("prepare", [*common, *leave]), Step("features", [*common, *views])]
    if args.teacher:
        plan += [Step("teacher", [*common, "--teacher", str(args.teacher), "--out", soft])]
    if partial:
        kept = ["--checkpoint", str(run / "partial.ckpt"), "--cloud", args.cloud, "--unmeasured", "--folds", str(args.folds)]
        plan += [Step("partial", [*common, *taught, "--out", trained, *kept])]
    else:
        linear = str(run / "linear.npz") if args.recipe == "full" else trained
        plan += [Step("train", [*common, *taught, "--out", linear, "--folds", str(args.folds)])]
        if args.recipe == "full":
            kept = ["--start", linear, "--checkpoint", str(run / "full.ckpt"), "--cloud", args.cloud, "--folds",
                    str(args.folds)]  # fmt: skip
            plan += [Step("full", [*common, *taught, "--out", trained, *kept])]
    if to_learn:
        plan += [Step("regions", [*common, "--out", regions])]
    plan += [
        Step("export", [*common, "--trained", trained, *with_regions, "--out", out]),
        Step("quantize", [*common, "--trained", trained, *with_regions, "--out", out], tolerated=quantize.UNFIT),
        Step("evaluate", [*common, *answers, "--model", out, "--out", figures]),
        Step("export", [*common, "--trained", trained, *with_regions, "--out", out, "--figures", figures]),
    ]
    against = ["--champion", str(args.champion)] if args.champion else []
    if against:
        plan += [Step("promote", [*common, *answers, *against, "--challenger", out, "--metric", args.metric], refusal=1)]
    page = str(args.report or args.out.with_suffix(".html"))
    return [*plan, Step("report", [*common, *answers, "--model", out, *against, "--out", page])]


def key(step: Step) -> str:
    """Names a step with all that it was asked."""
    return hashlib.sha256(json.dumps([step.name, step.arguments]).encode()).hexdigest()[:16]


def run_step(step: Step) -> int:
    """The step's exit code; SIGTERM is handed on, so that the step ends with its checkpoint."""
    process = subprocess.Popen([sys.executable, "-m", f"scripts.{step.name}", *step.arguments], cwd=options.REPOSITORY)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    """Run what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_common(parser)
    parser.add_argument("--data", type=options.own_folder, action="append", default=[], metavar="FOLDER", help="as --own")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle to make, below the service's models folder")
    parser.add_argument("--recipe", choices=RECIPES, default="linear")
    parser.add_argument("--champion", type=Path, help="bundle to be better than")
    parser.add_argument("--metric", default="mean_macro_f1", help="what it must be better in (see scripts.promote)")
    parser.add_argument("--report", type=Path, help="HTML file; beside the bundle where not stated")
    parser.add_argument("--teacher", type=Path, help="MobileNetV2 as TFLite: teach with its word too")
    parser.add_argument("--regions", type=Path, help="a region head, or a bundle that has one: it does not depend on your labels")
    parser.add_argument("--views", type=int, default=3, help="augmented views of each photo")
    parser.add_argument("--folds", type=int, default=0, help="cross-validated search of the settings before training")
    parser.add_argument("--without", default="", help="heads to leave out, comma-separated")
    parser.add_argument("--skip-bad", action="store_true", help="leave out photos that cannot be read")
    parser.add_argument("--cloud", choices=interrupt.CLOUDS, default="none")
    parser.add_argument("--runs", type=Path, default=options.home() / "runs", help="where the state of runs is kept")
    args = parser.parse_args()
    args.own += args.data
    args = options.named(parser, args)
    run = args.runs / args.out.name
    run.mkdir(parents=True, exist_ok=True)
    state = run / "done.json"
    done: list[str] = json.loads(state.read_text()) if state.exists() else []
    ended = 0
    plan = steps(args, run)
    # A step that is to run again makes all after it stale.
    first = next((k for k, step in enumerate(plan) if done[k : k + 1] != [key(step)]), len(plan))
    done = done[:first]
    for step in plan[first:]:
        free = shutil.disk_usage(run).free
        if free < 2**30:
            raise SystemExit(f"{free / 2**20:.0f} MiB are free where {run} lies; a step may need a gigabyte")
        print(f"== {step.name}", flush=True)
        code = run_step(step)
        if code == interrupt.STOPPED or code < 0:
            raise SystemExit(interrupt.STOPPED)
        if code and code not in (step.refusal, step.tolerated):
            raise SystemExit(f"{step.name} failed with code {code}; what is done stays, the same command goes on")
        ended = ended or (code if code == step.refusal else 0)
        done.append(key(step))
        files.write_text(state, json.dumps(done))
    raise SystemExit(ended)


if __name__ == "__main__":
    main()
