//! Nearest neighbours over embeddings.
