"""Judges lists on a window of time, and picks settings on one.

Judged are at most `limit` users, chosen by a hash of their number, so that what comes to the driver is bounded: their
hits and three lists of N. Coverage is that of these users' lists.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from . import factors, metrics, store, topn

Lists = dict[int, list[int]]
GROUPS = {"warm": factors.WARM, "cold": factors.COLD}


@dataclass(frozen=True)
class Exam:
    """Users with factor and seen items, their hits by group, and how many items there are to choose among."""

    users: DataFrame
    hits: dict[str, dict[int, set[int]]]
    eligible: dict[str, int]
    n: int
    work: str


def seen(events: DataFrame) -> DataFrame:
    """user, seen: the items of each user's events, ascending."""
    return events.groupBy("user").agg(F.sort_array(F.collect_set("item")).alias("seen"))


def exam(users: DataFrame, items: DataFrame, known: DataFrame, future: DataFrame, limit: int, n: int, work: str) -> Exam:
    """`items`: item, grp to choose among. `known`: events before the window; `future`: hits within it.

    What a user already knew is neither recommended nor counted as a hit.
    """
    wanted = future.select("user", "item").distinct().join(items.select("item", "grp"), "item")
    wanted = wanted.join(known.select("user", "item").distinct(), ["user", "item"], "left_anti")
    chosen = wanted.join(users.select("user"), "user", "left_semi").select("user").distinct()
    chosen = chosen.orderBy(F.xxhash64("user"), "user").limit(limit)
    place = f"{work}/exam"
    chosen = F.broadcast(store.kept(chosen, f"{place}/chosen"))
    own = seen(known.join(chosen, "user"))
    judged = store.kept(users.join(chosen, "user").join(own, "user", "left"), f"{place}/users")
    hits: dict[str, dict[int, set[int]]] = {"joint": defaultdict(set), "warm": defaultdict(set), "cold": defaultdict(set)}
    for row in wanted.join(chosen, "user").collect():
        for name in ("joint", "cold" if row["grp"] else "warm"):
            hits[name][row["user"]].add(row["item"])
    counts = {row["grp"]: row["count"] for row in items.groupBy("grp").count().collect()}
    eligible = {name: counts.get(grp, 0) for name, grp in GROUPS.items()} | {"joint": sum(counts.values())}
    return Exam(judged, hits, eligible, n, place)


def lists(taken: Exam, users: DataFrame, items: DataFrame) -> dict[str, Lists]:
    """The lists of the judged users: of warm items, of cold ones, and of both together."""
    rows = topn.top_n(users, items, taken.n, f"{taken.work}/lists").collect()
    scored: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    for row in rows:
        scored[row["user"], row["grp"]].append((-row["score"], row["item"]))
    found: dict[str, Lists] = {"joint": {}, "warm": {}, "cold": {}}
    for user in {user for user, _ in scored}:
        parts = {name: sorted(scored.get((user, grp), [])) for name, grp in GROUPS.items()}
        parts["joint"] = sorted(parts["warm"] + parts["cold"])[: taken.n]
        for name, part in parts.items():
            found[name][user] = [item for _, item in part]
    return found


def judge(taken: Exam, items: DataFrame, users: DataFrame | None = None) -> dict[str, metrics.Judged]:
    """Of item factors (item, grp, factor), in each group; with the exam's users where no others are stated."""
    found = lists(taken, taken.users if users is None else users, items)
    return {name: metrics.judge(found[name], taken.hits[name], taken.eligible[name], taken.n) for name in found}


def judge_score(taken: Exam, items: DataFrame, score: str) -> dict[str, metrics.Judged]:
    """Of one list for all: items by a column, each user's seen ones left out."""
    plain = items.where(F.col(score).isNotNull()).select("item", "grp", F.array(F.col(score).cast("float")).alias("factor"))
    return judge(taken, plain, taken.users.withColumn("factor", F.array(F.lit(1.0).cast("float"))))


def chance(taken: Exam) -> dict[str, metrics.Judged]:
    """Of lists drawn at random."""
    return {name: metrics.chance(taken.hits[name], taken.eligible[name], taken.n) for name in taken.hits}


@dataclass(frozen=True)
class Choice:
    """Penalty of the regression, settings of the blend, and the NDCG by which each was picked."""

    penalty: float
    blend: factors.Blend
    tried: dict[str, dict[str, float]]


#: What is tried; the first of equals is taken.
PENALTIES = [0.1, 0.01, 0.001, 1.0]
KS = [0.0, 2.0, 8.0]
BETAS = [0.0, 0.1, 0.3, 1.0]


def choose(taken: Exam, learned: factors.Learned, there: DataFrame) -> Choice:
    """The penalty by cold items, then k by warm ones, then beta by joint lists.

    `there`: the items to choose among; on a past day those that came later were not there yet.
    """
    tried: dict[str, dict[str, float]] = {}
    users = factors.with_profile(taken.users)

    def best(what: str, group: str, values: dict[float, DataFrame]) -> float:
        if len(values) == 1:
            return next(iter(values))
        tried[what] = {str(value): judge(taken, items, users)[group].ndcg for value, items in values.items()}
        return max(values, key=lambda value: tried[what][str(value)])

    def mixed(penalty: float, how: factors.Blend) -> DataFrame:
        return factors.blend(guesses[penalty], how)

    guesses = {p: factors.predict(learned, p, f"{taken.work}/predicted-{p}") for p in PENALTIES}
    guesses = {p: guess.join(there.select("item"), "item", "left_semi") for p, guess in guesses.items()}
    cold = {p: mixed(p, factors.Blend()).where(F.col("grp") == factors.COLD) for p in PENALTIES}
    penalty = best("penalty, cold NDCG", "cold", cold)
    warm = {k: mixed(penalty, factors.Blend(k)).where(F.col("grp") == factors.WARM) for k in KS}
    k = best("k, warm NDCG", "warm", warm)
    beta = best("beta, joint NDCG", "joint", {b: mixed(penalty, factors.Blend(k, b)) for b in BETAS})
    return Choice(penalty, factors.Blend(k, beta), tried)
