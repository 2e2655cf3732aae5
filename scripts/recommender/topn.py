"""The best N items of each user and group by inner product, exactly, in blocks; what a user has seen is left out.

Spark pairs blocks of about 1,000 users with blocks of about 4,000 items. A task multiplies its pairs and keeps N items a
user and group, so no score leaves it that is not among the best. The work is users x items x rank; what travels is
users x N for each of the `spread` parts of the items. A user's seen items must fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

USERS, ITEMS = 1024, 4096
BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
LIST = "block long, grp int, ids binary, items binary, scores binary"
FLAT = "user int, grp int, rank int, item int, score float"


def better(kept: tuple[np.ndarray, np.ndarray], items: np.ndarray, scores: np.ndarray) -> None:
    """Puts the best of `kept` (items, scores; best first) and of new (rows, items) scores into `kept`."""
    best_items, best_scores = kept
    n = best_items.shape[1]
    rows = np.flatnonzero((scores > best_scores[:, -1:]).any(1))
    if len(rows) == 0:
        return
    mine = scores[rows]
    if mine.shape[1] > n:
        chosen = np.argpartition(-mine, n - 1, axis=1)[:, :n]
        mine = np.take_along_axis(mine, chosen, 1)
        found = items[chosen] if items.ndim == 1 else np.take_along_axis(items[rows], chosen, 1)
    else:
        found = np.broadcast_to(items, scores.shape)[rows]
    all_items, all_scores = np.hstack([best_items[rows], found]), np.hstack([best_scores[rows], mine])
    # Equal scores: the smaller number first, so that the answer does not depend on the order of the blocks.
    order = np.lexsort((all_items, -all_scores))[:, :n]
    best_items[rows] = np.take_along_axis(all_items, order, 1)
    best_scores[rows] = np.take_along_axis(all_scores, order, 1)


def nothing(rows: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists with no item yet."""
    return np.full((rows, n), -1, np.int32), np.full((rows, n), -np.inf, np.float32)


def hide_seen(scores: np.ndarray, items: np.ndarray, seen: np.ndarray, lengths: np.ndarray) -> None:
    """Takes out what each user has seen; `items` ascend."""
    place = np.minimum(np.searchsorted(items, seen), len(items) - 1)
    row = np.repeat(np.arange(len(lengths)), lengths)
    here = items[place] == seen
    scores[row[here], place[here]] = -np.inf


def user_blocks(users: DataFrame, blocks: int) -> DataFrame:
    """`user`, `factor` and `seen` (may be null) as one row of bytes a block."""

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in range(batch.num_rows):
                held = batch.column("rows")[row].values.flatten()
                ids, factor, seen = held[0], held[1], held[2]
                lengths = seen.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
                yield pa.record_batch({
                    "block": batch.column("block").slice(row, 1),
                    "ids": pa.array([ids.to_numpy().tobytes()], pa.binary()),
                    "factors": pa.array([factor.flatten().to_numpy().tobytes()], pa.binary()),
                    "seen": pa.array([seen.flatten().to_numpy(zero_copy_only=False).tobytes()], pa.binary()),
                    "lengths": pa.array([lengths.astype(np.int64).tobytes()], pa.binary()),
                })  # fmt: skip

    block = F.pmod("user", F.lit(blocks)).cast("long").alias("block")
    rows = F.sort_array(F.collect_list(F.struct("user", "factor", "seen"))).alias("rows")
    packed = "block long, ids binary, factors binary, seen binary, lengths binary"
    return users.groupBy(block).agg(rows).mapInArrow(pack, packed)


def item_blocks(items: DataFrame, blocks: int) -> DataFrame:
    """`item`, `factor` and `grp` as one row of bytes a block and group; numbers ascend within."""

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in range(batch.num_rows):
                held = batch.column("rows")[row].values.flatten()
                yield pa.record_batch({
                    "grp": batch.column("grp").slice(row, 1),
                    "its": pa.array([held[0].to_numpy().tobytes()], pa.binary()),
                    "its_factors": pa.array([held[1].flatten().to_numpy().tobytes()], pa.binary()),
                })  # fmt: skip

    block = F.pmod("item", F.lit(blocks)).alias("item_block")
    rows = F.sort_array(F.collect_list(F.struct("item", "factor"))).alias("rows")
    packed = "grp int, its binary, its_factors binary"
    return items.groupBy("grp", block).agg(rows).select("grp", "rows").mapInArrow(pack, packed)


def to_batch(block: int, ids: bytes, lists: dict[int, tuple[np.ndarray, np.ndarray]]) -> pa.RecordBatch:
    """A row for each group."""
    return pa.record_batch({
        "block": pa.array([block] * len(lists), pa.int64()),
        "grp": pa.array(list(lists), pa.int32()),
        "ids": pa.array([ids] * len(lists), pa.binary()),
        "items": pa.array([items.tobytes() for items, _ in lists.values()], pa.binary()),
        "scores": pa.array([scores.tobytes() for _, scores in lists.values()], pa.binary()),
    })  # fmt: skip


def top_n(users: DataFrame, items: DataFrame, n: int, out: str, spread: int = 1) -> DataFrame:
    """Writes user, grp, rank from 1 on, item, score to `out`, and reads it.

    `users`: user, factor, seen; `items`: item, factor, grp.
    """
    spark = users.sparkSession

    def multiply(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        current, ids = -1, b""
        lists: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for batch in batches:
            for row in batch.to_pylist():
                if row["block"] != current:
                    if lists:
                        yield to_batch(current, ids, lists)
                    current, ids, lists = row["block"], row["ids"], {}
                    count = len(ids) // 4
                    factors = np.frombuffer(row["factors"], np.float32).reshape(count, -1)
                    seen, lengths = np.frombuffer(row["seen"], np.int32), np.frombuffer(row["lengths"], np.int64)
                numbers = np.frombuffer(row["its"], np.int32)
                scores = factors @ np.frombuffer(row["its_factors"], np.float32).reshape(len(numbers), -1).T
                hide_seen(scores, numbers, seen, lengths)
                better(lists.setdefault(row["grp"], nothing(count, n)), numbers, scores)
        if lists:
            yield to_batch(current, ids, lists)

    def merge(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                ids = np.frombuffer(row["parts"][0]["ids"], np.int32)
                kept = nothing(len(ids), n)
                for part in row["parts"]:
                    scores = np.frombuffer(part["scores"], np.float32).reshape(-1, n)
                    better(kept, np.frombuffer(part["items"], np.int32).reshape(-1, n), scores)
                who, place = np.nonzero(np.isfinite(kept[1]))
                yield pa.record_batch({
                    "user": pa.array(ids[who], pa.int32()),
                    "grp": pa.array(np.full(len(who), row["grp"]), pa.int32()),
                    "rank": pa.array(place + 1, pa.int32()),
                    "item": pa.array(kept[0][who, place], pa.int32()),
                    "score": pa.array(kept[1][who, place], pa.float32()),
                })  # fmt: skip

    parallel = spark.sparkContext.defaultParallelism
    many_users, many_items = ceil(users.count() / USERS) or 1, ceil(items.count() / ITEMS) or 1
    left = user_blocks(users, many_users).repartition(min(many_users, 4 * parallel), "block").hint("shuffle_replicate_nl")
    right = item_blocks(items, many_items).repartition(spread)
    lists = left.crossJoin(right).mapInArrow(multiply, LIST)
    parts = lists.groupBy("block", "grp").agg(F.collect_list(F.struct("ids", "items", "scores")).alias("parts"))
    # Rows here are blocks of megabytes: few of them may go to Python at a time.
    spark.conf.set(BATCH, "8")
    try:
        parts.mapInArrow(merge, FLAT).write.mode("overwrite").parquet(out)
    finally:
        spark.conf.unset(BATCH)
    return spark.read.parquet(out)
