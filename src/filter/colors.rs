//! Names of colors as people write them: the 12 basic names and Shopify's 19 retail names, with their aliases.
//! One name is matched against both lists of a product, since `blue` is in both and `navy` in one.

use super::Facets;
use crate::color::BasicColor;
use std::fmt;

/// The 12 basic names, as they are written in JSON.
const BASIC: [(&str, BasicColor); 12] = [
    ("black", BasicColor::Black),
    ("white", BasicColor::White),
    ("grey", BasicColor::Grey),
    ("red", BasicColor::Red),
    ("orange", BasicColor::Orange),
    ("yellow", BasicColor::Yellow),
    ("green", BasicColor::Green),
    ("blue", BasicColor::Blue),
    ("purple", BasicColor::Purple),
    ("pink", BasicColor::Pink),
    ("brown", BasicColor::Brown),
    ("beige", BasicColor::Beige),
];

/// Names of Shopify's color swatches that are not basic ones; `gray` is, as `grey`.
const RETAIL: [&str; 7] = ["bronze", "clear", "gold", "multicolor", "navy", "rose_gold", "silver"];

/// Other spellings, after lower case and `_`.
const ALIASES: [(&str, &str); 6] = [
    ("gray", "grey"),
    ("rosegold", "rose_gold"),
    ("multicolour", "multicolor"),
    ("multi", "multicolor"),
    ("transparent", "clear"),
    ("violet", "purple"),
];

/// A color name of a request: basic, or retail only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColorName {
    /// One of the 12 basic names; of the retail list too.
    Basic(BasicColor),
    /// A name of the retail list alone, lower case with `_`.
    Retail(&'static str),
}

impl ColorName {
    /// The color `name` stands for; case, and space, `-` or `_` between words, do not matter.
    pub fn parse(name: &str) -> Option<Self> {
        let wanted: String = name
            .trim()
            .chars()
            .map(|letter| match letter {
                ' ' | '-' => '_',
                other => other.to_ascii_lowercase(),
            })
            .collect();
        let wanted = ALIASES.iter().find(|(alias, _)| *alias == wanted).map_or(wanted.as_str(), |(_, name)| name);
        if let Some((_, basic)) = BASIC.iter().find(|(name, _)| *name == wanted) {
            return Some(Self::Basic(*basic));
        }
        RETAIL.iter().find(|name| **name == wanted).map(|name| Self::Retail(name))
    }

    /// Every name there is, for messages.
    pub fn all() -> impl Iterator<Item = &'static str> {
        let basic = BASIC.iter().map(|(name, _)| *name);
        basic.chain(RETAIL)
    }

    /// The name as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic(color) => BASIC.iter().find(|(_, basic)| *basic == color).map_or("", |(name, _)| name),
            Self::Retail(name) => name,
        }
    }

    /// True when one of the product's dominant colors has this name.
    pub fn matches(self, facets: &Facets) -> bool {
        let basic = matches!(self, Self::Basic(color) if facets.colors.contains(&color));
        // Stored names may be spelled `Rose gold` or `gray`, so they go the same way as those of requests.
        let retail = |name: &String| Self::parse(name) == Some(self);
        basic || facets.retail_colors.iter().any(retail)
    }
}

impl fmt::Display for ColorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
