"""The tables that a consumer keeps, and how records change them: each page in one transaction with the cursor.

Rows carry the sequence number of the last record applied to their product; a record that is not newer does nothing. They
carry too the generation, the number of the snapshot that they were seen in or came after. A snapshot writes every product
under a new generation and then removes what still has an older one: products that are gone are known by their absence, and
sequence numbers of another catalog are never compared.
"""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass
from types import TracebackType

import psycopg
from psycopg.types.json import Jsonb

from .feed import FeedError, Page, Record, check_schema, kind
from .patience import Stop

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS vitrine;
CREATE TABLE IF NOT EXISTS vitrine.products (
    product_id text PRIMARY KEY,
    metadata   jsonb NOT NULL,      -- what the merchant says
    attributes jsonb NOT NULL,      -- effective: corrections, then the merchant's, then the model's
    corrections jsonb NOT NULL,     -- a person's
    seq        bigint NOT NULL,     -- of the last record applied
    generation bigint NOT NULL      -- of the snapshot it was seen in or came after
);
CREATE TABLE IF NOT EXISTS vitrine.images (
    product_id text NOT NULL REFERENCES vitrine.products ON DELETE CASCADE,
    image_id   text NOT NULL,
    ordinal    integer NOT NULL,    -- order among the product's images, not without gaps
    analysis   jsonb NOT NULL,      -- the image as the feed gives it
    seq        bigint NOT NULL,     -- of the record that it is from
    PRIMARY KEY (product_id, image_id)
);
CREATE TABLE IF NOT EXISTS vitrine.feed_cursor (
    one             boolean PRIMARY KEY DEFAULT true CHECK (one),
    source          text,                            -- the catalog, as Feed-Source names it
    after           bigint NOT NULL DEFAULT 0,       -- the feed goes on after this
    generation      bigint NOT NULL DEFAULT 1,
    snapshotting    boolean NOT NULL DEFAULT true,   -- a snapshot is being read
    snapshot_cursor text                             -- its next page; null: the first
);
INSERT INTO vitrine.feed_cursor DEFAULT VALUES ON CONFLICT DO NOTHING;
"""
#: Advisory lock of whoever keeps the tables of a database.
LOCK = 0x56697472696E65
LOCK_LOOK_S = 0.05

# Changes of an image count only where the product's row takes the record.
_TOUCH = """WITH product AS (
    UPDATE vitrine.products SET attributes = %(attributes)s, seq = %(seq)s
    WHERE product_id = %(product_id)s AND seq < %(seq)s RETURNING product_id)"""
_IMAGE = f"""{_TOUCH}
INSERT INTO vitrine.images AS i (product_id, image_id, ordinal, analysis, seq)
SELECT product_id, %(image_id)s,
       (SELECT coalesce(max(ordinal) + 1, 0) FROM vitrine.images WHERE product_id = %(product_id)s),
       %(image)s, %(seq)s
FROM product
ON CONFLICT (product_id, image_id) DO UPDATE SET analysis = excluded.analysis, seq = excluded.seq"""
#: By kind of record: the parts of its data that it needs, and the statement.
CHANGES = {
    # Only this makes a row: of a product that is not there, other records are those of one that is deleted later on.
    "product_upserted": (
        ("metadata", "attributes"),
        """INSERT INTO vitrine.products AS p (product_id, metadata, attributes, corrections, seq, generation)
           VALUES (%(product_id)s, %(metadata)s, %(attributes)s, '{}', %(seq)s, %(generation)s)
           ON CONFLICT (product_id) DO UPDATE
           SET metadata = excluded.metadata, attributes = excluded.attributes, seq = excluded.seq
           WHERE p.seq < excluded.seq""",
    ),
    "product_deleted": ((), "DELETE FROM vitrine.products WHERE product_id = %(product_id)s AND seq < %(seq)s"),
    "image_upserted": (("image", "attributes"), _IMAGE),
    "analysis_replaced": (("image", "attributes"), _IMAGE),
    "image_deleted": (
        ("attributes",),
        f"""{_TOUCH} DELETE FROM vitrine.images i USING product
            WHERE i.product_id = product.product_id AND i.image_id = %(image_id)s""",
    ),
    "attributes_corrected": (
        ("corrections", "attributes"),
        """UPDATE vitrine.products SET corrections = %(corrections)s, attributes = %(attributes)s, seq = %(seq)s
           WHERE product_id = %(product_id)s AND seq < %(seq)s""",
    ),
}
#: A product of a snapshot takes the place of what there was, whatever that was.
SNAPSHOT = (
    """INSERT INTO vitrine.products (product_id, metadata, attributes, corrections, seq, generation)
       VALUES (%(product_id)s, %(metadata)s, %(attributes)s, %(corrections)s, %(seq)s, %(generation)s)
       ON CONFLICT (product_id) DO UPDATE
       SET metadata = excluded.metadata, attributes = excluded.attributes, corrections = excluded.corrections,
           seq = excluded.seq, generation = excluded.generation""",
    "DELETE FROM vitrine.images WHERE product_id = %(product_id)s",
    """INSERT INTO vitrine.images (product_id, image_id, ordinal, analysis, seq)
       SELECT %(product_id)s, image ->> 'image_id', place - 1, image, %(seq)s
       FROM jsonb_array_elements(%(images)s) WITH ORDINALITY AS given (image, place)""",
)


class Taken(Exception):
    """Another consumer keeps these tables."""


@dataclass(frozen=True)
class Cursor:
    """How far the tables are."""

    source: str | None
    after: int
    generation: int
    snapshotting: bool
    snapshot_cursor: str | None


class Tables:
    """A connection that holds the lock. Use as a context."""

    def __init__(self, database: str, stop: Stop, lock_wait_s: float) -> None:
        self.connection = psycopg.connect(database, autocommit=True, connect_timeout=10, application_name="vitrine-consumer")
        try:
            self._lock(stop, lock_wait_s)
            with self.connection.transaction():
                self.connection.execute(SCHEMA)
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.connection.close()

    def _lock(self, stop: Stop, wait_s: float) -> None:
        # A consumer that was killed a moment ago holds it until its server process notices.
        until = time.monotonic() + wait_s
        while not self._try_lock():
            if time.monotonic() >= until:
                raise Taken(f"another consumer keeps the tables of this database; waited {wait_s:.0f} s for its lock")
            with stop.interruptible():
                time.sleep(LOCK_LOOK_S)

    def _try_lock(self) -> bool:
        row = self.connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        return bool(row and row[0])

    def cursor(self, for_update: bool = False) -> Cursor:
        """How far the tables are."""
        query = "SELECT source, after, generation, snapshotting, snapshot_cursor FROM vitrine.feed_cursor"
        row = self.connection.execute(f"{query} FOR UPDATE" if for_update else query).fetchone()
        if row is None:
            raise FeedError("vitrine.feed_cursor has lost its row: drop the schema vitrine, it is filled again")
        return Cursor(*row)

    def begin_snapshot(self, at: Cursor) -> None:
        """The next page is the first of a snapshot; the rows stay until it is through."""
        with self.connection.transaction():
            self._expect(at)
            self._move(Cursor(at.source, at.after, at.generation + 1, True, None))

    def store_snapshot(self, at: Cursor, page: Page) -> None:
        """A page of a snapshot; with the last one, what is in none of its pages goes."""
        with self.connection.transaction():
            self._expect(at)
            with self.connection.pipeline():
                for record in page.records:
                    check_schema(record)
                    values = parameters(record, at.generation, ("metadata", "attributes", "corrections", "images"))
                    for statement in SNAPSHOT:
                        self.connection.execute(statement, values)
            if page.cursor is None:
                self.connection.execute("DELETE FROM vitrine.products WHERE generation < %s", (at.generation,))
            self._move(Cursor(page.source, page.after, at.generation, page.cursor is not None, page.cursor))

    def apply(self, at: Cursor, page: Page) -> bool:
        """A page of the feed; true when it told of another model, which only a snapshot shows: what follows is in that."""
        activated = next((k for k, record in enumerate(page.records) if kind(record) == "model_activated"), None)
        after = page.after if activated is None else int(page.records[activated]["seq"])
        with self.connection.transaction():
            self._expect(at)
            with self.connection.pipeline():
                for record in page.records[:activated]:
                    # Kinds that came later pass: they touch nothing that is kept here.
                    if found := CHANGES.get(kind(record)):
                        check_schema(record)
                        parts, statement = found
                        self.connection.execute(statement, parameters(record, at.generation, parts))
            anew = activated is not None
            self._move(Cursor(at.source, after, at.generation + anew, anew, None))
        return activated is not None

    def _expect(self, at: Cursor) -> None:
        # The lock is the connection's, the row is the tables': behind a pooler the lock alone would promise too much.
        if self.cursor(for_update=True) != at:
            raise Taken("the cursor moved while a page was fetched: another consumer writes to these tables")

    def _move(self, to: Cursor) -> None:
        query = """UPDATE vitrine.feed_cursor
                   SET (source, after, generation, snapshotting, snapshot_cursor) = (%s, %s, %s, %s, %s)"""
        self.connection.execute(query, astuple(to))


def parameters(record: Record, generation: int, parts: tuple[str, ...]) -> dict[str, object]:
    """What statements name."""
    data = record["data"]
    try:
        values = {part: Jsonb(data[part]) for part in parts}
        ids = {"product_id": data["product_id"], "image_id": data.get("image_id")}
    except KeyError as missing:
        raise FeedError(f"record {record['id']} ({record['type']}) has no {missing} in its data") from missing
    return {**values, **ids, "seq": record["seq"], "generation": generation}
