-- Endpoints that changes are sent to, and what they have not taken yet.
CREATE TABLE webhooks (
    webhook_key INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id  TEXT NOT NULL UNIQUE,           -- UUID
    url         TEXT NOT NULL,
    kinds       TEXT NOT NULL,                  -- JSON array of kinds of changes; empty: all
    description TEXT,
    state       TEXT NOT NULL,                  -- active, paused, disabled
    reason      TEXT,                           -- why it was disabled
    secrets     TEXT NOT NULL,                  -- JSON array, the newest first: text, and until when it signs (none: for good)
    cursor      INTEGER NOT NULL,               -- changes up to it were delivered, or are in deliveries
    missed      INTEGER NOT NULL DEFAULT 0,     -- changes that the log had lost before they were delivered
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
) STRICT;

CREATE TABLE deliveries (
    webhook_key INTEGER NOT NULL REFERENCES webhooks (webhook_key) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,               -- the change
    product_id  TEXT,                           -- later changes of it wait behind this one
    kind        TEXT NOT NULL,
    body        TEXT NOT NULL,                  -- the record, as it is sent
    state       INTEGER NOT NULL,               -- 0 waits, 1 dead, 2 dead while the endpoint took nothing at all
    attempts    INTEGER NOT NULL,
    first_unix  INTEGER NOT NULL,               -- seconds: when it was first to be sent
    next_unix   INTEGER NOT NULL,               -- seconds: when it is to be sent again; 2^63 - 1: behind an earlier one
    status      INTEGER,                        -- of the last answer
    error       TEXT,                           -- why the last attempt failed
    PRIMARY KEY (webhook_key, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (webhook_key, next_unix) WHERE state = 0;
CREATE INDEX deliveries_dead ON deliveries (webhook_key, seq) WHERE state != 0;
CREATE INDEX deliveries_product ON deliveries (webhook_key, product_id, seq) WHERE state = 0;

-- How far a stream of JetStream has come, for when it has none of our messages left.
CREATE TABLE published (
    stream TEXT PRIMARY KEY NOT NULL,
    cursor INTEGER NOT NULL                     -- changes up to it are in the stream, or were
) STRICT, WITHOUT ROWID;
