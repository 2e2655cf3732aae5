-- Analyses by model version: while a catalog is looked at by a new model, and after it for the way back, an image has
-- one of each. What is shown is the current version's, so that a switch is one row and not a rewrite of the catalog.
CREATE TABLE analyses (
    analysis_key  INTEGER PRIMARY KEY,       -- order of arrival
    image_key     INTEGER NOT NULL REFERENCES images (image_key) ON DELETE CASCADE,
    model_version TEXT NOT NULL,
    analysis      TEXT NOT NULL,             -- JSON of the analysis
    embedding     BLOB NOT NULL,             -- little-endian f32, unit length
    UNIQUE (image_key, model_version)
) STRICT;
INSERT INTO analyses (image_key, model_version, analysis, embedding)
    SELECT image_key, model_version, analysis, embedding FROM images ORDER BY image_key;
CREATE INDEX analyses_model ON analyses (model_version, image_key);
DROP INDEX images_model;
ALTER TABLE images DROP COLUMN model_version;
ALTER TABLE images DROP COLUMN analysis;
ALTER TABLE images DROP COLUMN embedding;

-- At most one row each.
CREATE TABLE current_model (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version TEXT NOT NULL                    -- whose analyses are shown and searched
) STRICT;
INSERT INTO current_model SELECT 1, version FROM model_activations ORDER BY seq DESC LIMIT 1;
CREATE TABLE pending_activation (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version TEXT NOT NULL,                   -- looks at the catalog now, becomes current when it is through
    at      TEXT NOT NULL,
    failure TEXT                             -- why it was given up; NULL while it goes on
) STRICT;
