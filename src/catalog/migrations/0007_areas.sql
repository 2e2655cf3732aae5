-- The part of a photo that an image is, as it was asked for: in pixels (1,2,30,40) or in shares (0.1,0.0,0.9,1.0). NULL: all of it.
ALTER TABLE images ADD COLUMN area TEXT;
ALTER TABLE job_rows ADD COLUMN area TEXT;
-- Parts of one photo are images of their own.
DROP INDEX job_rows_image;
CREATE UNIQUE INDEX job_rows_image ON job_rows (job_key, product_id, coalesce(image_id, uri || coalesce(' ' || area, '')))
    WHERE uri IS NOT NULL AND state != 3;
