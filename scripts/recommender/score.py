"""The product score: a random forest that says how much interest a product will find a day.

Learned from one window of time and used for the next: what a product is, how long it has been there and what interest it
found so far, against log(1 + evidence a day) in the window. Trees are grown on all workers; a level of a forest costs
one pass over the products.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow.compute as pc
from pyspark.ml.functions import array_to_vector
from pyspark.ml.regression import RandomForestRegressionModel, RandomForestRegressor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from . import content, factors, metrics, timeline

#: Directions of greatest spread of the embedding that trees see.
DIRECTIONS = 24
#: Days of the recent past.
RECENT = 14
#: Most products that come to the driver to be judged.
JUDGED = 100_000


def compressor(found: content.Moments, design: content.Design) -> np.ndarray:
    """(width, fewer): what trees can use, the embedding in few directions, all else as it is."""
    width = design.embedding
    mean = found.xx[-1, :width] / found.weight
    covariance = found.xx[:width, :width] / found.weight - np.outer(mean, mean)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :DIRECTIONS]
    rest = np.eye(design.width)[:, width:]
    return np.hstack([np.vstack([directions, np.zeros((design.width - width, directions.shape[1]))]), rest]).astype(np.float32)


def history(events: DataFrame, at: datetime) -> DataFrame:
    """item, age in days, evidence a day so far and of late, as known at a time."""
    known = timeline.before(events, at)
    day = 86_400.0
    since = (F.lit(at).cast("timestamp").cast("double") - F.min("at").cast("double")) / day
    late = F.sum(F.when(F.col("at") >= F.date_sub(F.lit(at), RECENT), F.col("worth")).otherwise(0.0))
    found = known.groupBy("item").agg(since.alias("age"), F.sum("worth").alias("all"), late.alias("late"))
    rate = F.log1p(F.col("all") / F.greatest("age", F.lit(1.0)))
    recent = F.log1p(F.col("late") / F.greatest(F.least("age", F.lit(float(RECENT))), F.lit(1.0)))
    return found.select("item", "age", rate.alias("rate"), recent.alias("recent"))


def target(events: DataFrame, begin: datetime, end: datetime) -> DataFrame:
    """item, target: log(1 + evidence a day) within a window, from the day a new item first shows."""
    inside = timeline.between(events, begin, end)
    first = timeline.before(events, end).groupBy("item").agg(F.min("at").alias("first"))
    total = inside.groupBy("item").agg(F.sum("worth").alias("total"))
    start = F.greatest(F.col("first"), F.lit(begin).cast("timestamp")).cast("double")
    days = F.greatest((F.lit(end).cast("timestamp").cast("double") - start) / 86_400.0, F.lit(1.0))
    return first.join(total, "item", "left").select("item", F.log1p(F.coalesce("total", F.lit(0.0)) / days).alias("target"))


def examples(learned: factors.Learned, events: DataFrame, at: datetime) -> DataFrame:
    """item, age, rate, recent (null: new) and `features`, as known at a time; of the model only what products are."""
    weights = compressor(learned.moments, learned.design)
    short = content.project(learned.items, learned.design, "brief", weights)
    joined = short.join(history(events, at), "item", "left")
    past = [F.coalesce(F.col(name), F.lit(missing)).cast("float") for name, missing in
            (("age", -1.0), ("rate", -1.0), ("recent", -1.0))]  # fmt: skip
    vector = array_to_vector(F.concat("brief", F.array(*past)))
    return joined.select("item", "age", "rate", "recent", vector.alias("features"))


def fit(found: DataFrame, trees: int, depth: int, seed: int) -> RandomForestRegressionModel:
    """Of rows with features and target."""
    forest = RandomForestRegressor(featuresCol="features", labelCol="target", numTrees=trees, maxDepth=depth,
                                   minInstancesPerNode=5, subsamplingRate=0.7, featureSubsetStrategy="onethird",
                                   seed=seed)  # fmt: skip
    return forest.fit(found)


def judge(found: DataFrame) -> dict[str, dict[str, float]]:
    """Of rows with target, prediction, rate: warm and new items apart, beside "as it was before" for the warm ones."""
    rows = found.orderBy(F.xxhash64("item")).limit(JUDGED).select("target", "prediction", "recent").toArrow()
    new = rows["recent"].is_null()
    report: dict[str, dict[str, float]] = {}
    for name, part in (("warm", rows.filter(pc.invert(new))), ("cold", rows.filter(new))):
        truth, said = part["target"].to_numpy(), part["prediction"].to_numpy()
        if len(truth) < 2:
            continue
        spread = float(((truth - truth.mean()) ** 2).mean())
        report[name] = {
            "items": len(truth),
            "r2": 1 - float(((truth - said) ** 2).mean()) / max(spread, 1e-12),
            "spearman": metrics.rank_correlation(truth, said),
        }
        if name == "warm":
            report[name]["spearman_of_recent_rate"] = metrics.rank_correlation(truth, part["recent"].to_numpy())
    return report


def scale(predicted: DataFrame) -> DataFrame:
    """`popularity` from 0 to 1: a share of what the best half percent is said to find."""
    top = predicted.approxQuantile("prediction", [0.995], 0.001)
    most = max(top[0] if top else 1.0, 1e-9)
    share = F.least(F.greatest(F.col("prediction") / F.lit(most), F.lit(0.0)), F.lit(1.0))
    return predicted.withColumn("popularity", F.round(share, 6))
