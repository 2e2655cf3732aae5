//! The `color` parameter: which colors a similar product may have.
//! The index knows colors by name, so a `#rrggbb` is taken to the nearest of a few anchors of the 12 basic names.

use super::SimilarError;
use crate::color::BasicColor;
use crate::filter::{ColorName, Facets, Filter};
use palette::{IntoColor, Oklab, Srgb};

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

/// What the basic names stand for, by the CSS colors of these names and their common light and dark shades.
const ANCHORS: [(u32, BasicColor); 34] = [
    (0x00_00_00, BasicColor::Black),
    (0x1c_1c_1e, BasicColor::Black),
    (0xff_ff_ff, BasicColor::White),
    (0xf5_f5_f5, BasicColor::White),
    (0x80_80_80, BasicColor::Grey),
    (0x50_50_50, BasicColor::Grey),
    (0xc0_c0_c0, BasicColor::Grey),
    (0xff_00_00, BasicColor::Red),
    (0xb2_22_22, BasicColor::Red),
    (0x80_00_00, BasicColor::Red),
    (0xff_8c_00, BasicColor::Orange),
    (0xff_6a_1a, BasicColor::Orange),
    (0xff_ff_00, BasicColor::Yellow),
    (0xff_d7_00, BasicColor::Yellow),
    (0xff_f4_9c, BasicColor::Yellow),
    (0x00_80_00, BasicColor::Green),
    (0x00_ff_00, BasicColor::Green),
    (0x55_6b_2f, BasicColor::Green),
    (0x98_d8_98, BasicColor::Green),
    (0x00_00_ff, BasicColor::Blue),
    (0x00_00_80, BasicColor::Blue),
    (0x46_82_b4, BasicColor::Blue),
    (0x87_ce_eb, BasicColor::Blue),
    (0x00_ce_d1, BasicColor::Blue),
    (0x80_00_80, BasicColor::Purple),
    (0x8a_2b_e2, BasicColor::Purple),
    (0xb5_8f_d8, BasicColor::Purple),
    (0xff_c0_cb, BasicColor::Pink),
    (0xff_69_b4, BasicColor::Pink),
    (0xff_14_93, BasicColor::Pink),
    (0x8b_45_13, BasicColor::Brown),
    (0x4e_34_2e, BasicColor::Brown),
    (0xf5_f0_dc, BasicColor::Beige),
    (0xd9_c3_a0, BasicColor::Beige),
];

impl ColorMode {
    /// `any`, `same`, `different`, a color name or `#rrggbb`.
    pub fn parse(text: &str) -> Result<Self, SimilarError> {
        let named = match text {
            "any" => return Ok(Self::Any),
            "same" => return Ok(Self::Same),
            "different" => return Ok(Self::Different),
            _ => match text.strip_prefix('#') {
                Some(digits) => hex(digits).map(|rgb| ColorName::Basic(nearest(rgb))),
                None => ColorName::parse(text),
            },
        };
        named.map(Self::Named).ok_or_else(|| {
            let names: Vec<&str> = ColorName::all().collect();
            let expected = format!("any, same, different, #rrggbb or one of {}", names.join(", "));
            SimilarError::invalid("color", expected, format!("{text:?}"))
        })
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

fn hex(digits: &str) -> Option<u32> {
    let plain = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// Name of the anchor nearest in Oklab, where distance is closer to what is seen than in RGB.
fn nearest(rgb: u32) -> BasicColor {
    let wanted = oklab(rgb);
    let distance = |anchor: u32| {
        let anchor = oklab(anchor);
        let (l, a, b) = (wanted.l - anchor.l, wanted.a - anchor.a, wanted.b - anchor.b);
        // Hue tells names apart more than lightness does.
        l * l * 0.5 + a * a + b * b
    };
    let mut best = (f32::INFINITY, BasicColor::Grey);
    for (anchor, name) in ANCHORS {
        let distance = distance(anchor);
        if distance < best.0 {
            best = (distance, name);
        }
    }
    best.1
}

fn oklab(rgb: u32) -> Oklab {
    let [_, r, g, b] = rgb.to_be_bytes();
    Srgb::new(r, g, b).into_format::<f32>().into_color()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

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
