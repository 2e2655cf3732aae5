//! The name a shop's color filter uses: one of Shopify's 19, from the basic name and the measured color.
//! Most are the basic name itself; navy and the metallic names are parts of a basic color's range.

use super::BasicColor;
use super::lab::{Lab, chroma};

/// Retail name of a color. `clear` and `multicolor` describe a product, not a color: never given here.
/// `shine` is the spread of lightness inside the color (standard deviation of L): metal has highlights, cloth has not.
pub(super) fn name(basic: BasicColor, lab: Lab, shine: f32) -> &'static str {
    let c = chroma(lab);
    let hue = lab[2].atan2(lab[1]).to_degrees();
    let metal = shine > 14.0;
    match basic {
        // Of 224 photos labelled Navy Blue half lie below L 27, of 637 labelled Blue three quarters above 35.
        BasicColor::Blue if lab[0] < 30.0 => "navy",
        BasicColor::Grey | BasicColor::White if metal && (55.0..88.0).contains(&lab[0]) && c < 8.0 => "silver",
        BasicColor::Yellow | BasicColor::Brown | BasicColor::Beige
            if metal && (68.0..100.0).contains(&hue) && c > 18.0 && lab[0] > 45.0 =>
        {
            "gold"
        }
        BasicColor::Brown if metal && (45.0..80.0).contains(&hue) && c > 18.0 && lab[0] > 30.0 => "bronze",
        BasicColor::Pink | BasicColor::Orange | BasicColor::Beige
            if metal && (20.0..62.0).contains(&hue) && (12.0..36.0).contains(&c) =>
        {
            "rose_gold"
        }
        BasicColor::Black => "black",
        BasicColor::White => "white",
        BasicColor::Grey => "gray",
        BasicColor::Red => "red",
        BasicColor::Orange => "orange",
        BasicColor::Yellow => "yellow",
        BasicColor::Green => "green",
        BasicColor::Blue => "blue",
        BasicColor::Purple => "purple",
        BasicColor::Pink => "pink",
        BasicColor::Brown => "brown",
        BasicColor::Beige => "beige",
    }
}
