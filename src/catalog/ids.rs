//! What an id, a name and a text of the catalog may be. Checked at the edge (HTTP, manifests) and once more by
//! every write, so that nothing unprintable or unbounded gets into the store.

use super::CatalogError;

/// Longest product or image id, in characters.
pub const MAX_ID_CHARS: usize = 128;
/// Longest attribute name or value, tag, or model version, in characters.
pub const MAX_LABEL_CHARS: usize = 128;

/// Checks a product or image id: 1 to [`MAX_ID_CHARS`] characters of any script, no control characters.
/// `field` names it in the error (`product_id`, `image_id`).
pub fn validate_id(field: &'static str, id: &str) -> Result<(), CatalogError> {
    validate_text(field, id, 1, MAX_ID_CHARS)
}

/// Checks that `text` has `min` to `max` characters and no control characters. The error quotes at most
/// 64 characters of what came.
pub(super) fn validate_text(field: &'static str, text: &str, min: usize, max: usize) -> Result<(), CatalogError> {
    // A string has at least as many bytes as characters: the count below is bounded by the body's limit.
    let chars = text.chars().count();
    if (min..=max).contains(&chars) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let shown: String = text.chars().take(64).collect();
    Err(CatalogError::invalid(
        field,
        format!("{min} to {max} characters without control characters"),
        format!("{chars} characters: {shown:?}"),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_of_any_script_pass_and_control_characters_do_not() {
        let long = "é".repeat(MAX_ID_CHARS);
        for id in ["a", "SKU-1/red", "連衣裙", "🧥", " ", "..", long.as_str()] {
            validate_id("product_id", id).unwrap();
        }
        let too_long = "é".repeat(MAX_ID_CHARS + 1);
        for id in ["", "a\n", "\0", "a\u{7f}", "\u{85}", too_long.as_str()] {
            let error = validate_id("product_id", id).unwrap_err();
            assert!(matches!(error, CatalogError::Invalid { field: "product_id", .. }), "{id:?}");
        }
    }
}
