"""``python -m scripts.recommender.generate EXPORT OUT --users 50000``: interactions drawn over the products of an export.

Writes Parquet parts with user_id, item_id, event (view, click, cart, purchase) and `at`. Sessions run over `--days`; a
share of the products comes late, and `--cold` of them only in the last `--test-days`, so that nothing is known of them
before. The same seed gives the same rows. What bounds it: the products' embeddings in memory, and one chunk of users.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import features, tastes

EVENTS = ["view", "click", "cart", "purchase"]
COLUMNS = ["item_id", "category", "price", "attributes", "colors", "embedding"]
#: Candidates that a session chooses among, and most views in one.
CANDIDATES, VIEWS = 40, 12
#: Share of sessions that follow no taste, only what is popular.
STRAY = 0.2
#: Microseconds of a second and of a day.
SECOND, DAY = 1_000_000, 86_400_000_000
BEGIN = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * SECOND


def draw_candidates(items: tastes.Items, region: np.ndarray, stray: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(sessions, candidates), by popularity within the region, or among all products."""
    low = np.where(stray, 0.0, items.cumulative[items.starts[region]])[:, None]
    high = np.where(stray, items.cumulative[-1], items.cumulative[items.starts[region + 1]])[:, None]
    at = low + rng.random((len(region), CANDIDATES)) * (high - low)
    place = np.searchsorted(items.cumulative, at, side="right") - 1
    return items.members[np.clip(place, 0, len(items.members) - 1)]


def draw_sessions(items: tastes.Items, count: int, days: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Events of `count` users: user, item, event code and time."""
    users = tastes.draw_users(items, count, rng)
    visits = np.minimum(1 + rng.geometric(1 / (1 + rng.lognormal(1.2, 0.8, count))), 60)
    user = np.repeat(np.arange(count), visits)
    stray = rng.random(len(user)) < STRAY
    which = (rng.random(len(user))[:, None] > np.cumsum(users.shares[user], 1)).sum(1).clip(0, users.regions.shape[1] - 1)
    candidates = draw_candidates(items, users.regions[user, which], stray, rng)
    day = rng.uniform(0, days - 0.05, len(user))
    liking = tastes.utility(users, items, user, candidates)
    noisy = liking + rng.gumbel(size=liking.shape)
    # A product is seen once a session, and not before it has come.
    ordered = np.sort(candidates, 1)
    again = np.zeros(candidates.shape, bool)
    np.put_along_axis(again, np.argsort(candidates, 1, kind="stable"), np.diff(ordered, axis=1, prepend=-1) == 0, 1)
    noisy[again | (items.arrival[candidates] > day[:, None])] = -np.inf
    shown = np.argsort(-noisy, 1)[:, :VIEWS]
    length = np.minimum(1 + rng.poisson(4, len(user)), VIEWS)
    seen = (np.arange(VIEWS) < length[:, None]) & np.isfinite(np.take_along_axis(noisy, shown, 1))
    session, place = np.nonzero(seen)
    item = candidates[session, shown[session, place]]
    like = liking[session, shown[session, place]]
    start = (day[session] * DAY).astype(np.int64) + place * 25 * SECOND
    # The funnel: who likes it more goes further.
    open_to = 1 / (1 + np.exp(-np.array([[0.9], [-1.6], [-1.0]]) - np.array([[0.7], [0.4], [0.3]]) * like))
    open_to[0] *= 0.35
    goes = np.logical_and.accumulate(rng.random(open_to.shape) < open_to, axis=0)
    delay = np.cumsum(rng.uniform(2, 120, open_to.shape), 0) * SECOND
    rows = [(user[session], item, np.zeros(len(item), np.int8), start)]
    for step, went in enumerate(goes):
        when = start[went] + delay[step, went].astype(np.int64)
        rows.append((user[session][went], item[went], np.full(int(went.sum()), step + 1, np.int8), when))
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return dict(zip(["user", "item", "event", "at"], columns, strict=True))


def to_table(drawn: dict[str, np.ndarray], items: tastes.Items, first_user: int) -> pa.Table:
    """Rows in order of time."""
    order = np.lexsort((drawn["event"], drawn["item"], drawn["user"], drawn["at"]))
    users = [f"user-{first_user + u:08}" for u in drawn["user"][order]]
    return pa.table({
        "user_id": pa.array(users, pa.string()),
        "item_id": pa.array(items.ids[drawn["item"][order]], pa.string()),
        "event": pa.DictionaryArray.from_arrays(pa.array(drawn["event"][order]), EVENTS).cast(pa.string()),
        "at": pa.array(BEGIN + drawn["at"][order], pa.timestamp("us", tz="UTC")),
    })  # fmt: skip


def generate(args: argparse.Namespace) -> int:
    """Writes a part for each chunk of users; how many rows."""
    table = features.read_local(args.export, COLUMNS).sort_by("item_id")
    items = tastes.draw_items(table, args.cold, args.late, args.days - args.test_days, args.days, args.seed)
    args.out.mkdir(parents=True)
    rows = 0
    for chunk, first in enumerate(range(0, args.users, args.chunk)):
        rng = np.random.default_rng([args.seed, 3, chunk])
        drawn = draw_sessions(items, min(args.chunk, args.users - first), args.days, rng)
        pq.write_table(to_table(drawn, items, first), args.out / f"part-{chunk:05}.parquet")
        rows += len(drawn["at"])
    return rows


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("export", type=Path, help="folder of a feature export")
    made.add_argument("out", type=Path, help="folder of the parts, which must not be there yet")
    made.add_argument("--users", type=int, default=50_000)
    made.add_argument("--days", type=float, default=90)
    made.add_argument("--test-days", type=float, default=14, help="the last days, in which cold products come")
    made.add_argument("--cold", type=float, default=0.1, help="share of products that come in the test days")
    made.add_argument("--late", type=float, default=0.3, help="share of products that come before them, but not at the start")
    made.add_argument("--chunk", type=int, default=5_000, help="users of a part")
    made.add_argument("--seed", type=int, default=0)
    return made


def main() -> None:
    """Draw and write."""
    args = parser().parse_args()
    print(f"{generate(args):,} interactions")


if __name__ == "__main__":
    main()
