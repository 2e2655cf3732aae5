"""``python -m scripts.recommender.job --features EXPORT --interactions FOLDER --out OUT``: recommendations and item scores.

Reads what products are and what users did; picks the settings of the blend on a window before the test, measures on the
last days, then learns from all and writes, below OUT:

    top_n/            Parquet: user_id, rank from 1 on, item_id, score
    scores/           Parquet: product_id, popularity from 0 to 1
    scores_csv/       the same as CSV
    report.json       figures, settings and run time by stage

Also for spark-submit: `spark-submit --py-files recommender.zip scripts/recommender/job.py ...`. Folders may be local, HDFS or
an object store; with more than one machine all of them, `--work` too, must be where every machine sees them.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.ml.regression import RandomForestRegressionModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from scripts.recommender import catalogue, content, factors, ids, measure, metrics, package, score, store, timeline, topn

Figures = dict[str, dict[str, metrics.Judged]]


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a block."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 1)
        print(f"{name}: {self.seconds[name]} s", flush=True)


def session(args: argparse.Namespace) -> SparkSession:
    """Spark, with this package on every worker; one that runs already is taken as it is."""
    if running := SparkSession.getActiveSession():
        return running
    builder = SparkSession.builder.appName("vitrine-recommender")
    if args.master and args.master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if args.master:
        builder = builder.master(args.master)
    for setting in args.conf:
        name, _, value = setting.partition("=")
        builder = builder.config(name, value)
    builder = builder.config("spark.sql.session.timeZone", "UTC").config("spark.ui.showConsoleProgress", "false")
    spark = builder.config("spark.sql.shuffle.partitions", str(args.partitions)).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.sparkContext.setCheckpointDir(f"{args.work}/checkpoints")
    if package.is_packed():
        return spark
    # Workers fetch it when they first need it, so it stays until the end.
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    package.write(packed := Path(folder.name) / "modules.zip")
    spark.sparkContext.addPyFile(str(packed))
    return spark


class Job:
    """Tables by number in place of name, and the stages that work on them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.clock = args, Clock()
        self.spark = session(args)
        self.how = factors.Settings(args.rank, args.iterations, args.regularization, args.alpha, args.blocks, args.seed)
        with self.clock.stage("read"):
            self.read()

    def read(self) -> None:
        """Products and events, with numbers for ids; all later stages read these tables."""
        args, work = self.args, self.args.work
        products = store.kept(catalogue.read(self.spark, args.features), f"{work}/products")
        raw = self.spark.read.parquet(args.interactions).select("user_id", "item_id", "event", "at")
        names = products.select("item_id").union(raw.select("item_id"))
        self.item_ids = ids.number(names, "item_id", "item", f"{work}/item_ids")
        self.user_ids = ids.number(raw, "user_id", "user", f"{work}/user_ids")
        self.catalogue = store.kept(products.join(self.item_ids, "item_id").drop("item_id"), f"{work}/catalogue")
        numbered = raw.join(self.item_ids, "item_id").join(self.user_ids, "user_id")
        self.events = store.kept(
            numbered.select("user", "item", "event", "at", timeline.worth().alias("worth")), f"{work}/events"
        )
        last = self.events.agg(F.max("at").cast("double").alias("last")).first()
        if last is None or last["last"] is None:
            raise SystemExit("no interactions")
        self.split = timeline.split(datetime.fromtimestamp(last["last"], UTC), args.test_days)
        self.design = content.design(self.catalogue, args.tokens)

    def learn(self, at: datetime, name: str) -> factors.Learned:
        """Factors as they could be known at a time."""
        rated = timeline.ratings(timeline.before(self.events, at))
        return factors.learn(rated, self.catalogue, self.design, self.how, f"{self.args.work}/{name}")

    def barred(self, events: DataFrame) -> DataFrame:
        """Events whose items a user is not shown again."""
        return events.where("event = 'purchase'") if self.args.exclude == "bought" else events

    def exam(self, learned: factors.Learned, begin: datetime, end: datetime, name: str, items: DataFrame) -> measure.Exam:
        """Users and hits of a window; `items` are those to choose among."""
        known = self.barred(timeline.before(self.events, begin))
        future = timeline.between(self.events, begin, end).where(F.col("event").isin(timeline.HITS))
        place = f"{self.args.work}/{name}"
        return measure.exam(learned.users, items, known, future, self.args.judged_users, self.args.n, place)

    def choose(self) -> measure.Choice:
        """Settings of the blend, by the window before the test."""
        split, place = self.split, f"{self.args.work}/validation"
        learned = self.learn(split.validation, "validation")
        shown = timeline.before(self.events, split.test).select("item").distinct()
        there = store.kept(learned.items.select("item", "grp").join(shown, "item", "left_semi"), f"{place}/there")
        taken = self.exam(learned, split.validation, split.test, "validation", there)
        return measure.choose(taken, learned, there)

    def forest(self, learned: factors.Learned, at: datetime, end: datetime) -> RandomForestRegressionModel:
        """The product score, from what was known at a time and what came until `end`."""
        rows = score.examples(learned, self.events, at).join(score.target(self.events, at, end), "item")
        return score.fit(store.kept(rows, f"{self.args.work}/grown"), self.args.trees, self.args.depth, self.args.seed)

    def test(self, choice: measure.Choice) -> tuple[Figures, dict[str, Any]]:
        """All contenders on the test window."""
        split, clock, place = self.split, self.clock, f"{self.args.work}/test"
        with clock.stage("learn for the test"):
            learned = self.learn(split.test, "test")
            items = factors.predict(learned, choice.penalty, f"{place}/predicted")
        with clock.stage("forest for the test"):
            forest = self.forest(learned, split.validation, split.test)
            said = forest.transform(score.examples(learned, self.events, split.test)).drop("features")
            said = store.kept(said, f"{place}/said")
            report = score.judge(said.join(score.target(self.events, split.test, split.end), "item"))
        with clock.stage("measure"):
            groups = learned.items.select("item", "grp")
            taken = self.exam(learned, split.test, split.end, "test", groups)
            popular = learned.items.select("item", "grp", F.when(F.col("taken") > 0, F.col("taken")).alias("score"))
            short = items.select("item", "grp", F.col("short").alias("factor"))
            profile = taken.users.withColumn("factor", F.col("profile"))
            figures = {
                "ALS alone": measure.judge(taken, factors.alone(items)),
                "ALS with features": measure.judge(taken, factors.blend(items, choice.blend), factors.with_profile(taken.users)),
                "features alone": measure.judge(taken, short, profile),
                "most popular": measure.judge_score(taken, popular, "score"),
                "best product score": measure.judge_score(taken, groups.join(said, "item"), "prediction"),
                "random": measure.chance(taken),
            }
        return figures, report

    def write(self, choice: measure.Choice) -> None:
        """Learns from all there is and writes what others read."""
        args, out, split = self.args, self.args.out.rstrip("/"), self.split
        place = f"{args.work}/all"
        with self.clock.stage("learn from all"):
            learned = self.learn(split.end, "all")
            items = factors.predict(learned, choice.penalty, f"{place}/predicted")
        with self.clock.stage("write top N"):
            blended = factors.blend(items, choice.blend).withColumn("grp", F.lit(0))
            users = factors.with_profile(learned.users).join(measure.seen(self.barred(self.events)), "user", "left")
            users, blended = store.kept(users, f"{place}/barred"), store.kept(blended, f"{place}/blended")
            best = topn.top_n(users, blended, args.n, f"{place}/lists", args.spread)
            named = best.join(self.item_ids, "item").join(self.user_ids, "user")
            named = named.select("user_id", "rank", "item_id", "score").repartition("user_id")
            named.sortWithinPartitions("user_id", "rank").write.mode("overwrite").parquet(f"{out}/top_n")
        with self.clock.stage("write scores"):
            forest = self.forest(learned, split.test, split.end)
            said = forest.transform(score.examples(learned, self.events, split.end)).select("item", "prediction")
            scores = score.scale(store.kept(said, f"{place}/said")).join(self.item_ids, "item")
            scores = store.kept(scores.select(F.col("item_id").alias("product_id"), "popularity"), f"{out}/scores")
            scores.write.mode("overwrite").option("header", True).csv(f"{out}/scores_csv")


def table(figures: Figures, n: int) -> str:
    """For people."""
    names = (f"P@{n}", "+-", "ceiling", f"R@{n}", "NDCG", "coverage")
    lines = [f"{'':20}{'group':7}" + "".join(f"{name:>10}" for name in (*names, "users", "items"))]
    for name, by_group in figures.items():
        for group in ("joint", "warm", "cold"):
            f = by_group[group]
            shares = (f.precision, f.error, f.ceiling, f.recall, f.ndcg, f.coverage)
            lines.append(f"{name:20}{group:7}" + "".join(f"{x:10.4f}" for x in shares) + f"{f.users:10}{f.eligible:10}")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All stages; the report."""
    begun = time.perf_counter()
    job = Job(args)
    with job.clock.stage("choose"):
        choice = job.choose()
    report: dict[str, Any] = {"split": {k: v.isoformat() for k, v in vars(job.split).items()}, "choice": asdict(choice)}
    if not args.no_measure:
        figures, said = job.test(choice)
        print(table(figures, args.n))
        report["figures"] = {name: {g: f.as_dict() for g, f in by.items()} for name, by in figures.items()}
        report["score"] = said
    job.write(choice)
    job.clock.seconds["total"] = round(time.perf_counter() - begun, 1)
    paths = ("features", "interactions", "out", "work", "conf", "master")
    settings = {name: value for name, value in vars(args).items() if name not in paths}
    report |= {"seconds": job.clock.seconds, "settings": settings, "master": job.spark.sparkContext.master}
    store.write_text(job.spark, f"{args.out.rstrip('/')}/report.json", json.dumps(report, indent=1) + "\n")
    return report


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--features", required=True, help="folder of Vitrine's feature export")
    made.add_argument("--interactions", required=True, help="Parquet: user_id, item_id, event, at")
    made.add_argument("--out", required=True, help="folder of what is written")
    made.add_argument("--work", required=True, help="folder of tables in between; may be deleted afterwards")
    made.add_argument("--master", help="local[2], spark://HOST:7077; what spark-submit states where not given")
    made.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE", help="a setting of Spark")
    made.add_argument("--n", type=int, default=10, help="items in a user's list")
    made.add_argument("--exclude", choices=["seen", "bought"], default="seen", help="what a user is not shown again")
    made.add_argument("--test-days", type=int, default=14, help="days of the test window, and of the validation window before it")
    made.add_argument("--judged-users", type=int, default=10_000, help="most users to judge by")
    made.add_argument("--no-measure", action="store_true", help="only choose and write")
    made.add_argument("--rank", type=int, default=32)
    made.add_argument("--iterations", type=int, default=10)
    made.add_argument("--regularization", type=float, default=0.05)
    made.add_argument("--alpha", type=float, default=10.0, help="confidence of an interaction over none")
    made.add_argument("--tokens", type=int, default=256, help="attributes, colors and categories that count, most frequent first")
    made.add_argument("--trees", type=int, default=40)
    made.add_argument("--depth", type=int, default=8)
    made.add_argument("--blocks", type=int, default=4, help="blocks of ALS; about the number of cores")
    made.add_argument("--partitions", type=int, default=8, help="of shuffles; two or three times the number of cores")
    made.add_argument("--spread", type=int, default=1, help="parts of the items in the top N; one for about a million items")
    made.add_argument("--seed", type=int, default=0)
    return made


def main() -> None:
    """Run."""
    run(parser().parse_args())


if __name__ == "__main__":
    main()
