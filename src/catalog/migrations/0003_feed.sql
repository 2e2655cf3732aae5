-- Which catalog this is: sequence numbers of another one mean nothing here. At most one row.
CREATE TABLE identity (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    catalog_id TEXT NOT NULL                 -- UUID, random
) STRICT;
INSERT INTO identity VALUES (1, (
    SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-' ||
           substr('89ab', 1 + abs(random()) % 4, 1) || substr(h, 18, 3) || '-' || substr(h, 21, 12)
    FROM (SELECT lower(hex(randomblob(16))) AS h)
));
