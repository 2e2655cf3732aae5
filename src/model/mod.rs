//! A model bundle and the engines that run it: `Photo` to head logits, a unit embedding and a coarse region map.

/// Dimension of every embedding.
pub const EMBEDDING_DIM: usize = 256;

/// A unit-length vector of [`EMBEDDING_DIM`] values; similarity is the dot product.
pub type Embedding = Vec<f32>;

/// What the model thinks of each cell of a coarse grid over the photo.
#[derive(Clone, Debug)]
pub struct RegionMap {
    /// Cells across.
    pub width: usize,
    /// Cells down.
    pub height: usize,
    /// Probability of "product sold" a cell, row-major (height, width), 0 to 1.
    pub product: Vec<f32>,
    /// Probability of skin or hair a cell, row-major (height, width), 0 to 1.
    pub skin: Vec<f32>,
}
