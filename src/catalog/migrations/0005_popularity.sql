-- What a recommender says of a product, 0 to 1.
ALTER TABLE products ADD COLUMN popularity REAL;
-- An export of what changed asks which products are gone.
CREATE INDEX changes_deleted ON changes (seq) WHERE kind = 'product_deleted';
