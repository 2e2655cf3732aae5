//! Logits to labels with calibrated confidence, or "unsure".

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One attribute of a product, as decided for one photo or for the whole product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attribute {
    /// `category`, `pattern`, `neckline`, ...
    pub name: String,
    /// A label of the taxonomy, or `null` when the model is unsure; see `candidates`.
    pub value: Option<String>,
    /// Calibrated probability that `value` (or the first candidate) is right, 0 to 1.
    pub confidence: f32,
    /// Who says so.
    pub source: Source,
    /// When unsure: what it may be, best first, never empty then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// Who an attribute comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The model's head.
    Model,
    /// The merchant's own metadata.
    Merchant,
    /// A person's correction: wins over all others.
    Correction,
}

/// One thing an unsure attribute may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// A label of the taxonomy.
    pub value: String,
    /// Calibrated probability, 0 to 1.
    pub confidence: f32,
}
