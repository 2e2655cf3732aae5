"""Dense integers for string ids, as ALS wants them: the rank of an id among all ids in order.

Sorted in ranges by Spark and numbered partition by partition, so nothing but a count for each partition comes to the
driver, and the numbers do not depend on how the table was cut.
"""

from __future__ import annotations

from itertools import accumulate

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from . import store

#: Bits below the partition number in monotonically_increasing_id.
ROW_BITS = 33


def number(table: DataFrame, column: str, name: str, out: str) -> DataFrame:
    """Writes and reads each distinct value of `column` with its number from 0 on in `name`."""
    ordered = table.select(column).distinct().sort(column)
    marked = ordered.withColumn("mark", F.monotonically_increasing_id()).persist()
    counted = marked.groupBy(F.shiftright("mark", ROW_BITS).alias("partition")).count().collect()
    counts = {row["partition"]: row["count"] for row in counted}
    partitions = sorted(counts)
    starts = dict(zip(partitions, accumulate([0] + [counts[p] for p in partitions[:-1]]), strict=True))
    if sum(counts.values()) >= 2**31:
        raise ValueError(f"{column}: ALS numbers at most 2^31 ids")
    if not starts:
        raise ValueError(f"{column}: no ids")
    start = F.create_map(*[F.lit(value) for pair in starts.items() for value in pair])
    within = F.col("mark").bitwiseAND(2**ROW_BITS - 1)
    index = (start[F.shiftright("mark", ROW_BITS)] + within).cast("int")
    numbered = store.kept(marked.select(column, index.alias(name)), out)
    marked.unpersist()
    return numbered
