//! A query to a page of similar products.
