//! What merchants write as a color, as one of the 12 basic names.
//! "Navy Blue" is blue; "Multi" and "NA" name no one color.

use super::BasicColor;

/// The name most people would accept first for each label that shops in our training photos wrote, as slugs.
/// From `color_names.csv` beside those photos, where a label with several accepted names takes its first.
const LABELS: [(&str, BasicColor); 45] = [
    ("beige", BasicColor::Beige),
    ("black", BasicColor::Black),
    ("blue", BasicColor::Blue),
    ("bronze", BasicColor::Brown),
    ("brown", BasicColor::Brown),
    ("burgundy", BasicColor::Red),
    ("charcoal", BasicColor::Grey),
    ("coffee_brown", BasicColor::Brown),
    ("copper", BasicColor::Brown),
    ("cream", BasicColor::Beige),
    ("fluorescent_green", BasicColor::Green),
    ("gold", BasicColor::Yellow),
    ("green", BasicColor::Green),
    ("grey", BasicColor::Grey),
    ("grey_melange", BasicColor::Grey),
    ("khaki", BasicColor::Beige),
    ("lavender", BasicColor::Purple),
    ("lime_green", BasicColor::Green),
    ("magenta", BasicColor::Pink),
    ("maroon", BasicColor::Red),
    ("mauve", BasicColor::Purple),
    ("metallic", BasicColor::Grey),
    ("mushroom_brown", BasicColor::Brown),
    ("mustard", BasicColor::Yellow),
    ("navy_blue", BasicColor::Blue),
    ("nude", BasicColor::Beige),
    ("off_white", BasicColor::White),
    ("olive", BasicColor::Green),
    ("orange", BasicColor::Orange),
    ("peach", BasicColor::Orange),
    ("pink", BasicColor::Pink),
    ("purple", BasicColor::Purple),
    ("red", BasicColor::Red),
    ("rose", BasicColor::Pink),
    ("rust", BasicColor::Orange),
    ("sea_green", BasicColor::Green),
    ("silver", BasicColor::Grey),
    ("skin", BasicColor::Beige),
    ("steel", BasicColor::Grey),
    ("tan", BasicColor::Brown),
    ("taupe", BasicColor::Brown),
    ("white", BasicColor::White),
    ("teal", BasicColor::Blue),
    ("turquoise_blue", BasicColor::Blue),
    ("yellow", BasicColor::Yellow),
];

impl BasicColor {
    /// The basic name of a merchant's label (`navy_blue`, `Navy Blue`, `Gray`); `None` for one that names no one color.
    pub fn from_merchant(label: &str) -> Option<Self> {
        let slug = label.trim().to_lowercase().replace([' ', '-'], "_").replace("gray", "grey");
        LABELS.iter().find(|(l, _)| *l == slug).map(|(_, name)| *name)
    }
}
