"""From what a product is to where it lies among the ALS factors: ridge regression, in closed form.

Each partition adds up its own moments, and only sums of (width + rank) squared numbers travel, so the number of products
does not matter to the driver: with 256 dimensions of embedding and 256 tokens a sum is 2 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

#: Names of the columns that a content vector is made of.
COLUMNS = ["tokens", "strengths", "price", "embedding"]


@dataclass(frozen=True)
class Design:
    """How a product becomes a vector: embedding, no photo, tokens, log price, no price, 1."""

    embedding: int
    vocabulary: tuple[str, ...]
    price_mean: float
    price_spread: float

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.embedding + len(self.vocabulary) + 4


def design(catalogue: DataFrame, tokens: int) -> Design:
    """The most frequent tokens, and the scale of prices (of one currency)."""
    words = catalogue.select(F.explode("tokens").alias("token")).groupBy("token").count()
    common = words.orderBy(F.desc("count"), "token").limit(tokens).collect()
    log_price = F.log(F.when(F.col("price") > 0, F.col("price")))
    row = catalogue.agg(F.mean(log_price).alias("mean"), F.stddev(log_price).alias("spread"),
                        F.max(F.size("embedding")).alias("width")).first()  # fmt: skip
    assert row is not None
    names = tuple(sorted(word["token"] for word in common))
    return Design(max(row["width"] or 0, 0), names, row["mean"] or 0.0, row["spread"] or 1.0)


def vectors(batch: pa.RecordBatch, how: Design) -> np.ndarray:
    """(rows, width) as f32."""
    out = np.zeros((batch.num_rows, how.width), np.float32)
    embedding = batch.column("embedding")
    there = embedding.is_valid().to_numpy(zero_copy_only=False)
    flat = embedding.flatten().to_numpy(zero_copy_only=False)
    # A unit vector of many dimensions has small numbers; this brings them to the size of the others.
    out[there, : how.embedding] = flat.reshape(int(there.sum()), -1) * np.float32(np.sqrt(max(how.embedding, 1)))
    out[~there, how.embedding] = 1
    tokens = batch.column("tokens")
    place = pc.index_in(tokens.flatten(), pa.array(how.vocabulary, pa.string())).fill_null(-1).to_numpy()
    row = np.repeat(np.arange(batch.num_rows), tokens.value_lengths().fill_null(0).to_numpy())
    strength = batch.column("strengths").flatten().to_numpy(zero_copy_only=False)
    known = place >= 0
    np.maximum.at(out, (row[known], how.embedding + 1 + place[known]), strength[known])
    price = batch.column("price").fill_null(0.0).to_numpy()
    priced = price > 0
    out[priced, -3] = (np.log(price[priced]) - how.price_mean) / how.price_spread
    out[~priced, -2] = 1
    out[:, -1] = 1
    return out


def matrix(column: pa.Array) -> np.ndarray:
    """(rows, length) of a column of lists of one length."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


@dataclass(frozen=True)
class Moments:
    """Sums over products, each with its weight: of x times x, of x times y, and of the weights."""

    xx: np.ndarray
    xy: np.ndarray
    weight: float

    def spread(self) -> np.ndarray:
        """The variance of each number of x."""
        return np.asarray(np.maximum(np.diag(self.xx) / self.weight - (self.xx[-1] / self.weight) ** 2, 0.0))


def moments(table: DataFrame, how: Design, rank: int) -> Moments:
    """Of a table with the content columns, `weight` and the target `factor`."""
    width = how.width

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total, weight = np.zeros((width, width + rank)), 0.0
        for batch in batches:
            x, y, w = vectors(batch, how), matrix(batch.column("factor")), batch.column("weight").to_numpy()
            total += (x * w[:, None]).astype(np.float64).T @ np.hstack([x, y])
            weight += float(w.sum())
        yield pa.record_batch({"sums": pa.array([np.append(total.ravel(), weight).tobytes()], pa.binary())})

    parts = table.select(*COLUMNS, "factor", "weight").mapInArrow(add_up, "sums binary")
    summed = parts.rdd.map(lambda row: np.frombuffer(row["sums"])).treeReduce(np.add)
    both = summed[:-1].reshape(width, width + rank)
    return Moments(both[:, :width], both[:, width:], float(summed[-1]))


def ridge(found: Moments, penalty: float) -> np.ndarray:
    """(width, rank): least squares with `penalty` on numbers of equal spread; the constant goes free."""
    shrink = penalty * found.weight * found.spread() + 1e-6 * found.weight
    shrink[-1] = 0.0
    return np.linalg.solve(found.xx + np.diag(shrink), found.xy).astype(np.float32)


def main_axes(found: Moments, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(width, axes) along which products differ most, and the variance along each."""
    mean = found.xx[-1] / found.weight
    variance, axes = np.linalg.eigh(found.xx / found.weight - np.outer(mean, mean))
    order = np.argsort(-variance)[:count]
    return axes[:, order], np.maximum(variance[order], 1e-9)


def short(found: Moments, count: int) -> np.ndarray:
    """(width, axes): brings a vector to its main axes, half whitened, of mean 0 and mean length 1.

    Half: unwhitened a few axes decide alone, whitened the last ones are mostly noise.
    """
    axes, variance = main_axes(found, count)
    scaled = axes / variance**0.25 / np.sqrt(np.sqrt(variance).sum())
    scaled[-1] -= found.xx[-1] / found.weight @ scaled
    return scaled.astype(np.float32)


def project(catalogue: DataFrame, how: Design, name: str, weights: np.ndarray) -> DataFrame:
    """`item`, and its vector times `weights` in the column `name`."""

    def apply(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            y = vectors(batch, how) @ weights
            lists = pa.FixedSizeListArray.from_arrays(pa.array(y.ravel()), y.shape[1]).cast(pa.list_(pa.float32()))
            yield pa.record_batch({"item": batch.column("item"), name: lists})

    return catalogue.select("item", *COLUMNS).mapInArrow(apply, f"item int, {name} array<float>")
