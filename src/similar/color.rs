//! The `color` parameter: which colors a similar product may have.
//! The index knows colors by name, so a `#rrggbb` is named as the colors of photos are.

use super::SimilarError;
use crate::color::basic_name;
use crate::filter::{ColorName, Facets, Filter};

/// Which colors a similar product may have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ColorMode {
    /// Any.
    #[default]
    Any,
    /// At least one in common with the query.
    Same,
    /// Known, and none in common with the query.
    Different,
    /// This one.
    Named(ColorName),
}

impl ColorMode {
    /// `any`, `same`, `different`, a color name or `#rrggbb`.
    pub fn parse(text: &str) -> Result<Self, SimilarError> {
        let named = match text {
            "any" => return Ok(Self::Any),
            "same" => return Ok(Self::Same),
            "different" => return Ok(Self::Different),
            _ if text.starts_with('#') => hex(text),
            _ => ColorName::parse(text),
        };
        named.map(Self::Named).ok_or_else(|| {
            let names: Vec<&str> = ColorName::all().collect();
            let expected = format!("any, same, different, #rrggbb or one of {}", names.join(", "));
            SimilarError::invalid("color", expected, format!("{text:?}"))
        })
    }

    /// True when it is said in terms of the query's own colors.
    pub(super) fn is_relative(self) -> bool {
        matches!(self, Self::Same | Self::Different)
    }

    /// The mode as a filter; `None` lets everything pass. Fails when the query's colors are asked for and not known.
    pub(super) fn filter(self, query: &Facets) -> Result<Option<Filter>, SimilarError> {
        let of_query = || {
            let names: Vec<ColorName> = query.colors.iter().copied().map(ColorName::Basic).collect();
            if names.is_empty() {
                let expected = "any, a name or #rrggbb for a query whose colors are not known";
                let received = if self == Self::Same { "same" } else { "different" };
                return Err(SimilarError::invalid("color", expected, received));
            }
            Ok(Filter::any_color(names))
        };
        Ok(match self {
            Self::Any => None,
            Self::Named(name) => Some(Filter::any_color(vec![name])),
            Self::Same => Some(of_query()?),
            Self::Different => Some(Filter::all(vec![of_query()?.negated(), Filter::unknown_color().negated()])),
        })
    }
}

/// The basic name of `#rrggbb`; the short form is not taken, as filters do not.
fn hex(text: &str) -> Option<ColorName> {
    (text.len() == 7).then(|| basic_name(text)).flatten().map(ColorName::Basic)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::color::BasicColor;

    #[test]
    fn hex_goes_to_the_name_people_use() {
        let cases = [
            ("#000000", BasicColor::Black),
            ("#fefefe", BasicColor::White),
            ("#777777", BasicColor::Grey),
            ("#cc1122", BasicColor::Red),
            ("#1f2a5c", BasicColor::Blue),
            ("#2e8b57", BasicColor::Green),
            ("#6b4423", BasicColor::Brown),
            ("#e6d5b8", BasicColor::Beige),
            ("#FF77AA", BasicColor::Pink),
            ("#663399", BasicColor::Purple),
            ("#ffe135", BasicColor::Yellow),
            ("#f28500", BasicColor::Orange),
        ];
        for (text, name) in cases {
            let mode = ColorMode::parse(text).unwrap();
            assert_eq!(mode, ColorMode::Named(ColorName::Basic(name)), "{text}");
        }
    }

    #[test]
    fn what_is_no_color_is_refused_by_name() {
        for text in ["", "#", "#12345", "#12345g", "#+12345", "mauve-ish", "Same", "#1234567"] {
            let error = ColorMode::parse(text).unwrap_err();
            assert!(matches!(error, SimilarError::Invalid { field: "color", .. }), "{text}");
        }
    }
}
