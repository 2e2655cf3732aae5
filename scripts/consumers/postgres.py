"""``python -m scripts.consumers.postgres --feed URL --database postgresql://...``: Postgres tables in step with a service.

An example of a catalog that reads the feed. A page of records and the cursor are stored in one transaction: killed at any
moment, the same command goes on, and no record is lost or applied twice. It begins with a snapshot, and reads one again
when another model is live, when the log no longer reaches back, or when the address is another catalog's.
Exit code 0: told to stop, or with --once in step; 1: with the reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import psycopg

from .feed import BeginAnew, Feed, FeedError
from .patience import Backoff, GaveUp, Stop, Stopped
from .tables import Cursor, Tables, Taken


def step(feed: Feed, tables: Tables, args: argparse.Namespace) -> bool:
    """Fetches one page and stores it; false when there was nothing new."""
    at = tables.cursor()
    try:
        return read_snapshot(feed, tables, at, args) if at.snapshotting else follow(feed, tables, at, args)
    except BeginAnew as reason:
        tables.begin_snapshot(at)
        print(f"begins anew with a snapshot: {reason}", flush=True)
        return True


def read_snapshot(feed: Feed, tables: Tables, at: Cursor, args: argparse.Namespace) -> bool:
    """One page of a snapshot."""
    if at.snapshot_cursor is None:
        print(f"snapshot {at.generation} begins", flush=True)
    page = feed.snapshot(at.snapshot_cursor, args.products)
    if at.snapshot_cursor is not None and page.source != at.source:
        raise BeginAnew(f"the catalog is {page.source}, the snapshot was of {at.source}")
    tables.store_snapshot(at, page)
    if page.cursor is None:
        print(f"snapshot {at.generation} is stored; on after {page.after} of {page.source}", flush=True)
    return True


def follow(feed: Feed, tables: Tables, at: Cursor, args: argparse.Namespace) -> bool:
    """One page of the feed."""
    page = feed.changes(at.after, args.limit, 0 if args.once else args.wait_s)
    if page.source != at.source:
        raise BeginAnew(f"the catalog is {page.source}, the tables are of {at.source}")
    if page.after == at.after:
        return False
    if tables.apply(at, page):
        print("another model is live: every analysis is read anew", flush=True)
    return True


def run(args: argparse.Namespace, stop: Stop) -> None:
    """Until told to stop; with --once until the tables are in step."""
    key = args.key_file.read_text(encoding="utf-8").strip() if args.key_file else None
    feed, backoff = Feed(args.feed, key, stop, args.give_up_after_s), Backoff(stop, args.give_up_after_s)
    while True:
        try:
            with Tables(args.database, stop, args.lock_wait_s) as tables:
                while step(feed, tables, args) or not args.once:
                    backoff.worked()
                    stop.check()
                at = tables.cursor()
                print(f"in step with {at.source} up to {at.after}", flush=True)
                return
        except psycopg.OperationalError as error:
            backoff.wait(f"database: {' '.join(str(error).split())}")


def main() -> None:
    """Reads options and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feed", required=True, metavar="URL", help="the service, e.g. http://127.0.0.1:8080")
    parser.add_argument("--database", required=True, metavar="URL", help="postgresql://..., or what libpq reads")
    parser.add_argument("--key-file", type=Path, help="API key with the scope search or ingest")
    parser.add_argument("--once", action="store_true", help="end when the tables are in step")
    parser.add_argument("--limit", type=int, default=1000, help="most records of a page, 1 to 10000")
    parser.add_argument("--products", type=int, default=200, help="most products of a snapshot's page, 1 to 1000")
    parser.add_argument("--wait-s", type=int, default=30, help="how long the service holds back an empty answer, up to 60")
    parser.add_argument("--lock-wait-s", type=float, default=10, help="how long to wait for another consumer to end")
    parser.add_argument("--give-up-after-s", type=float, default=600, help="end when service or database fail for so long")
    args = parser.parse_args()
    with Stop() as stop:
        try:
            run(args, stop)
        except Stopped:
            print("stopped", flush=True)
        except (FeedError, GaveUp, Taken, OSError, psycopg.Error) as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
