-- The first shape of the store. Applied in one transaction; never edited once released: add 0002 instead.
-- 'VITR' in ASCII: marks the file as a catalog, so that another program's database is refused.
PRAGMA application_id = 0x56495452;

CREATE TABLE products (
    product_id  TEXT PRIMARY KEY NOT NULL,   -- binary collation: pages run in code point order
    title       TEXT,
    category    TEXT,
    price       REAL,
    currency    TEXT,
    in_stock    INTEGER,
    group_id    TEXT,
    url         TEXT,
    tags        TEXT,                        -- JSON array of strings
    attributes  TEXT,                        -- JSON object, name to value: the merchant's own
    corrections TEXT NOT NULL DEFAULT '{}',  -- JSON object, name to value or null: in force now
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    seq         INTEGER NOT NULL             -- the last change that touched the product or an image of it
) STRICT;
CREATE INDEX products_seq ON products (seq);

CREATE TABLE images (
    image_key     INTEGER PRIMARY KEY,       -- order of arrival; a replaced image keeps its place
    product_id    TEXT NOT NULL REFERENCES products (product_id) ON DELETE CASCADE,
    image_id      TEXT NOT NULL,
    sha256        TEXT NOT NULL,             -- hex; the file photos/ab/cd/<sha256>
    content_type  TEXT NOT NULL,
    size_bytes    INTEGER NOT NULL,
    model_version TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    analysis      TEXT NOT NULL,             -- JSON of the analysis
    embedding     BLOB NOT NULL,             -- little-endian f32, unit length
    UNIQUE (product_id, image_id)
) STRICT;
CREATE INDEX images_sha256 ON images (sha256);
CREATE INDEX images_model ON images (model_version, image_key);

-- Every correction ever made, with what the model said then: training data. It outlives the product.
CREATE TABLE corrections (
    correction_id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq           INTEGER NOT NULL,
    at            TEXT NOT NULL,
    product_id    TEXT NOT NULL,
    name          TEXT NOT NULL,
    value         TEXT,                      -- NULL: the attribute does not apply
    observed      TEXT NOT NULL              -- JSON array: per image its hash, model version and what was seen
) STRICT;

-- AUTOINCREMENT: a sequence number is never given twice, not even after the newest rows are gone.
CREATE TABLE changes (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    at         TEXT NOT NULL,
    kind       TEXT NOT NULL,
    product_id TEXT,
    image_id   TEXT,
    payload    TEXT NOT NULL                 -- JSON
) STRICT;

CREATE TABLE model_activations (
    seq     INTEGER PRIMARY KEY,             -- the change that recorded it; the last row is live
    version TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency (
    caller       TEXT NOT NULL,
    key          TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,              -- SHA-256 of the request
    status       INTEGER NOT NULL,
    body         BLOB NOT NULL,
    created_unix INTEGER NOT NULL,           -- seconds
    PRIMARY KEY (caller, key)
) STRICT;
CREATE INDEX idempotency_created ON idempotency (created_unix);
