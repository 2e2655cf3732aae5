-- Bulk jobs: their rows end in the same transaction as the images they bring, so that none is done twice.
CREATE TABLE jobs (
    job_key     INTEGER PRIMARY KEY AUTOINCREMENT,  -- order in which they run
    job_id      TEXT NOT NULL UNIQUE,               -- UUID
    state       TEXT NOT NULL,                      -- queued, running, paused, done, failed, cancelled
    source      TEXT NOT NULL,                      -- JSON: where its manifest came from, and its format
    is_read     INTEGER NOT NULL DEFAULT 0,         -- all rows of the manifest are in job_rows
    is_retried  INTEGER NOT NULL DEFAULT 0,         -- failed rows are to wait again
    total       INTEGER NOT NULL DEFAULT 0,         -- rows read so far
    done        INTEGER NOT NULL DEFAULT 0,
    unchanged   INTEGER NOT NULL DEFAULT 0,
    duplicate   INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    ignored     TEXT NOT NULL DEFAULT '[]',         -- JSON array: columns without a meaning here
    failure     TEXT,                               -- why its manifest could not be read
    created_at  TEXT NOT NULL,
    started_at  TEXT,
    finished_at TEXT
) STRICT;
CREATE INDEX jobs_open ON jobs (job_key) WHERE state IN ('queued', 'running');

CREATE TABLE job_rows (
    job_key    INTEGER NOT NULL REFERENCES jobs (job_key) ON DELETE CASCADE,
    row        INTEGER NOT NULL,                    -- from 1, in the order of the manifest
    line       INTEGER NOT NULL,                    -- where it begins, from 1; 0 where there are no lines
    product_id TEXT,                                -- NULL: the row could not be read so far
    image_id   TEXT,                                -- NULL: named by its hash
    uri        TEXT,                                -- NULL: nothing can be fetched for it
    state      INTEGER NOT NULL,                    -- 0 waits, 1 done, 2 unchanged, 3 duplicate, 4 failed
    attempts   INTEGER NOT NULL DEFAULT 0,
    cause      TEXT,
    detail     TEXT,
    retryable  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_key, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_rows_waiting ON job_rows (job_key, row) WHERE state = 0;
CREATE INDEX job_rows_failed ON job_rows (job_key, row) WHERE state = 4;
-- Of two rows with the same image the first counts.
CREATE UNIQUE INDEX job_rows_image ON job_rows (job_key, product_id, coalesce(image_id, uri))
    WHERE uri IS NOT NULL AND state != 3;

-- What the rows of a job say of a product, all taken together.
CREATE TABLE job_products (
    job_key    INTEGER NOT NULL REFERENCES jobs (job_key) ON DELETE CASCADE,
    product_id TEXT NOT NULL,
    metadata   TEXT NOT NULL,                       -- JSON
    is_written INTEGER NOT NULL DEFAULT 0,          -- the catalog has it
    PRIMARY KEY (job_key, product_id)
) STRICT, WITHOUT ROWID;

-- What a server said a photo's version was when it was last fetched: what has not changed is not fetched again.
CREATE TABLE photo_sources (
    uri     TEXT PRIMARY KEY NOT NULL,
    etag    TEXT NOT NULL,
    sha256  TEXT NOT NULL,
    used_at TEXT NOT NULL                           -- day on which it was last asked for
) STRICT, WITHOUT ROWID;
CREATE INDEX photo_sources_used ON photo_sources (used_at);
