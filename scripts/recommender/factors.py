"""Factors of users and items: from interactions by ALS, from content, and the blend of both.

Content joins in twice. Where an item lies among the ALS factors is predicted from what it is: one that many took keeps
what ALS learned, one that few took leans on the prediction, a new one has only that:
factor = (n * learned + k * predicted) / (n + k), with n users who took it. And factors are made longer: an item's by its
main axes of content, a user's by the mean of those of the items taken (the profile). An inner product then adds how
much an item is like those, and the same top N serves all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.recommendation import ALS
from pyspark.ml.stat import Summarizer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from . import content, store

#: Users at which an item's learned factor weighs half in the regression.
TRUST = 10.0
#: Axes of content in a profile: with 64 more cold items were found than with 32.
AXES = 64
WARM, COLD = 0, 1


@dataclass(frozen=True)
class Settings:
    """Of ALS."""

    rank: int
    iterations: int
    regularization: float
    alpha: float
    blocks: int
    seed: int


@dataclass(frozen=True)
class Learned:
    """All of one time.

    `users`: user, factor, profile. `items`, the whole catalogue: item, grp, factor (null: cold), taken (by how many users),
    short, and the content columns.
    """

    users: DataFrame
    items: DataFrame
    moments: content.Moments
    design: content.Design


@dataclass(frozen=True)
class Blend:
    """How much content counts: `k` as above; `beta` scales the likeness to what the user took."""

    k: float = 0.0
    beta: float = 0.0


def profiles(ratings: DataFrame, items: DataFrame) -> DataFrame:
    """user, profile. One shuffle of the ratings with the axes of their items: 260 bytes a rating."""
    rows = ratings.join(items.select("item", array_to_vector(F.col("short")).alias("short")), "item")
    mean = Summarizer.mean(F.col("short"), F.col("rating"))
    return rows.groupBy("user").agg(vector_to_array(mean, "float32").alias("profile"))


def learn(ratings: DataFrame, catalogue: DataFrame, design: content.Design, how: Settings, work: str) -> Learned:
    """Fits ALS, adds up the moments of the regression, makes profiles; tables are written below `work`.

    ALS shuffles factors between blocks of users and of items twice an iteration and holds a block's ratings in memory.
    """
    ratings = store.kept(ratings, f"{work}/ratings")
    als = ALS(rank=how.rank, maxIter=how.iterations, regParam=how.regularization, alpha=how.alpha, implicitPrefs=True,
              userCol="user", itemCol="item", ratingCol="rating", seed=how.seed, checkpointInterval=5,
              numUserBlocks=how.blocks, numItemBlocks=how.blocks)  # fmt: skip
    model = als.fit(ratings)
    taken = ratings.groupBy("item").agg(F.count("*").alias("taken"))
    learned = model.itemFactors.select(F.col("id").alias("item"), F.col("features").alias("factor"))
    items = catalogue.join(learned, "item", "left").join(taken, "item", "left").fillna(0, ["taken"])
    items = store.kept(items.withColumn("grp", F.when(F.col("factor").isNull(), COLD).otherwise(WARM)), f"{work}/known")
    warm = items.where("factor is not null").withColumn("weight", F.col("taken") / (F.col("taken") + TRUST))
    moments = content.moments(warm, design, how.rank)
    axes = content.project(items, design, "short", content.short(moments, AXES))
    items = store.kept(items.join(axes, "item"), f"{work}/items")
    users = model.userFactors.select(F.col("id").alias("user"), F.col("features").alias("factor"))
    users = users.join(profiles(ratings, items), "user", "left")
    nothing = F.array_repeat(F.lit(0.0).cast("float"), min(AXES, design.width))
    users = store.kept(users.withColumn("profile", F.coalesce("profile", nothing)), f"{work}/users")
    return Learned(users, items, moments, design)


def predict(learned: Learned, penalty: float, out: str) -> DataFrame:
    """Writes and reads item, grp, factor, taken, short, predicted."""
    weights = content.ridge(learned.moments, penalty)
    guess = content.project(learned.items, learned.design, "predicted", weights)
    return store.kept(learned.items.select("item", "grp", "factor", "taken", "short").join(guess, "item"), out)


def alone(items: DataFrame) -> DataFrame:
    """item, grp, factor of ALS alone: nothing for cold items."""
    return items.where("factor is not null").select("item", "grp", "factor")


def blend(items: DataFrame, how: Blend) -> DataFrame:
    """item, grp, factor, for users that have their profile."""
    share = f"cast({how.k} / (taken + {how.k} + 1e-9) as float)"
    warm = f"zip_with(factor, predicted, (a, p) -> a * (1 - {share}) + p * {share})"
    mixed = f"if(factor is null, predicted, {warm})"
    both = f"transform(concat({mixed}, transform(short, x -> x * {how.beta})), x -> cast(x as float))"
    return items.select("item", "grp", F.expr(both).alias("factor"))


def with_profile(users: DataFrame) -> DataFrame:
    """Users whose factor has the profile behind it."""
    return users.withColumn("factor", F.concat("factor", "profile"))
