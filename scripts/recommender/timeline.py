"""Interactions on a time line: what an event is worth, what counts as a hit, and the windows of a split in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

#: Evidence of one event. A view of a list says little; a cart less than a purchase.
WORTH = {"view": 0.1, "click": 1.0, "cart": 3.0, "purchase": 6.0}
#: Events that make a product a hit: a mere view is no success.
HITS = ["click", "cart", "purchase"]


@dataclass(frozen=True)
class Split:
    """Validation from `validation` to `test`, test from `test` to `end`; all before is for training."""

    validation: datetime
    test: datetime
    end: datetime


def split(last: datetime, days: int) -> Split:
    """Windows of whole days; the last day that has events ends the test."""
    end = last.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return Split(end - timedelta(days=2 * days), end - timedelta(days=days), end)


def worth(column: str = "event") -> Column:
    """The evidence of an event; unknown kinds count nothing."""
    pairs = [F.lit(value) for pair in WORTH.items() for value in pair]
    return F.coalesce(F.create_map(*pairs)[F.col(column)], F.lit(0.0))


def before(events: DataFrame, at: datetime) -> DataFrame:
    """Events that a model of that time may know."""
    return events.where(F.col("at") < F.lit(at))


def between(events: DataFrame, begin: datetime, end: datetime) -> DataFrame:
    """Events of a window."""
    return events.where((F.col("at") >= F.lit(begin)) & (F.col("at") < F.lit(end)))


def ratings(events: DataFrame) -> DataFrame:
    """user, item and the logarithm of all evidence, so that who looks fifty times is not believed fifty times."""
    evidence = F.log1p(F.sum("worth")).cast("float").alias("rating")
    return events.groupBy("user", "item").agg(evidence)
