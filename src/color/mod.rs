//! Product pixels to a palette: clusters in CIELAB, shares, names.
//!
//! The way through the room: masked pixels to weighted bins (`bins`), bins to clusters (`cluster`), clusters to colors
//! a person would count (`merge`), colors to names: basic by probability (`names`), retail (`retail`) and ISCC-NBS
//! (`shade`). The model's word on the product's color, where there is one, is weighed against the measured one.

mod bins;
mod cluster;
mod iscc_table;
pub(crate) mod lab;
mod merge;
mod names;
mod names_table;
mod retail;
mod shade;
#[cfg(test)]
mod tests;
mod vote;
mod vote_table;

mod merchant;

use crate::mask::working::Working;
use crate::mask::{BackgroundKind, Flag, Masks};
use crate::photo::Photo;
use ::palette::Srgb;
use bins::{Bin, Histogram};
use cluster::Cluster;
use lab::Lab;
pub(crate) use lab::ciede2000;
use multiversion::multiversion;
use names::NAMES;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The colors of one photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Colors {
    /// Colors of the product sold, 1 to 6: the one that names it, then by share.
    pub dominant: Vec<NamedColor>,
    /// Colors of the background, largest share first; may be empty.
    pub background: Vec<NamedColor>,
    /// Kind of background found.
    pub background_kind: BackgroundKind,
    /// Share of the photo that is product, 0 to 1.
    pub product_share: f32,
    /// Share of the photo that is skin or hair, 0 to 1.
    pub skin_share: f32,
    /// True when no single color names the product.
    pub multicolor: bool,
    /// How far masks and names can be trusted, 0 to 1.
    pub confidence: f32,
    /// What a reader should know.
    pub flags: Vec<Flag>,
}

/// One color of a palette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NamedColor {
    /// `#rrggbb`, sRGB.
    pub hex: String,
    /// CIELAB under D65: L 0 to 100, a and b about -128 to 127; rounded to two decimals.
    pub lab: [f32; 3],
    /// One of the 12 basic names.
    pub name: BasicColor,
    /// One of Shopify's 19 color names.
    pub retail_name: String,
    /// Fine shade: an ISCC-NBS name.
    pub shade: String,
    /// Share of the pixels it stands for, 0 to 1.
    pub share: f32,
    /// Who named it.
    pub source: ColorSource,
}

/// The 11 basic color terms of English and beige.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum BasicColor {
    Black,
    White,
    Grey,
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Beige,
}

impl BasicColor {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::White => "white",
            Self::Grey => "grey",
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Beige => "beige",
        }
    }
}

/// Who named a color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColorSource {
    /// The measured pixels.
    Pixels,
    /// The model's `base_color` head.
    Model,
    /// Both agree.
    Both,
}

/// What the model's `base_color` head says: probability a basic name, summing to at most 1.
#[derive(Clone, Debug, Default)]
pub struct ColorPrior(pub Vec<(BasicColor, f32)>);

/// Clusters k-means starts from; merging brings them down to the colors there are (at most 6, and shades of them).
const SEEDS: usize = 8;
/// Width of the center weight: Gaussian sigma as a share of the half picture. The product sold stands in the middle,
/// other clothes of the person wearing it toward the upper and lower edge.
const CENTER: f32 = 0.75;

/// What the pixels' word counts against the model's (1 less this), as exponents of their probabilities. Of 0.3, 0.45 and 0.6
/// the last was best on validation photos for each of three fits of the vote, by little (0.804, 0.804, 0.807 accepted on
/// average); weights of each name, learnt in five folds, gave no more (0.805).
const PIXELS: f32 = 0.6;
/// Step of an edge (CIE76 a pixel) at which a pixel counts half: knits and weaves lie below it, contours of prints above.
const EDGE: f32 = 6.0;
/// Added to every probability before they are weighed: what neither side can rule out.
const DOUBT: f32 = 0.01;
/// From this probability on a color of the palette carries the name of the whole.
const OWN: f32 = 0.25;
/// A color that is less than this of the largest one is a trim, whatever the name.
const CARRIER: f32 = 0.5;

/// The palette of a photo under its masks; `prior` is what the model says of the product's color.
/// Never fails: a photo without product pixels gives the palette of the whole photo and says so in `flags`.
///
/// Shares are of the product's pixels, those near the picture's center counting more. `photo` must be the one the masks
/// were made of; its pixels are read from the small copy the masks carry.
pub fn palette(photo: &Photo, masks: &Masks, prior: Option<&ColorPrior>) -> Colors {
    debug_assert_eq!(masks.working.short_side, photo.width().min(photo.height()));
    let mut flags = masks.flags.clone();
    let mut confidence = masks.confidence;
    // Names are voted on by all pixels (fitted so; without edges 0.769 accepted of 0.775), colors counted on flat ones: on
    // drawn pictures their number is right in 0.90 of 0.75, and they lie nearer to the dye (CIEDE2000 0.8 of 1.2).
    let (product, ground) = counted(masks);
    let ([mut bins, flat], [back]) = (product.bins(), ground.bins());
    if bins.is_empty() {
        // Masks can come out empty when everything was skin or the region map denied every pixel.
        bins = bins::histogram(masks.working.lab.iter().map(|lab| (*lab, 1.0)));
        confidence = confidence.min(0.05);
        if !flags.contains(&Flag::WholePhoto) {
            flags.push(Flag::WholePhoto);
            flags.sort();
        }
    }
    let mut dominant = describe(if flat.is_empty() { &bins } else { &flat }, 6);
    let (multicolor, mass) = many(&dominant);
    let certainty = settle(&mut dominant, vote::probabilities(&bins), prior);
    Colors {
        dominant: dominant.into_iter().map(|d| d.color).collect(),
        background: describe(&back, 3).into_iter().map(|d| d.color).collect(),
        background_kind: masks.kind,
        product_share: share(masks.product.as_raw()),
        skin_share: share(masks.skin.as_raw()) + share(masks.hair.as_raw()),
        multicolor,
        // A name that barely won, or a color that covers little, is worth less than the mask it came from.
        confidence: (confidence * (0.4 + 0.6 * certainty) * (0.6 + 0.4 * mass)).clamp(0.0, 1.0),
        flags,
    }
}

/// The product's pixels, all and flat ones, and those of the background.
#[multiversion(targets("x86_64+avx2"))]
fn counted(masks: &Masks) -> (Histogram<2>, Histogram<1>) {
    let (mut product, mut ground) = (Histogram::new(), Histogram::new());
    weigh(masks, |lab, [all, flat, back]| {
        product.add(lab, [all, flat]);
        ground.add(lab, [back]);
    });
    (product, ground)
}

/// The product's pixels as bins `[L, a, b, weight]`, heaviest first: what the names are fitted on.
pub(crate) fn product_bins(masks: &Masks) -> Vec<[f32; 4]> {
    let mut product = Histogram::new();
    weigh(masks, |lab, [all, ..]| product.add(lab, [all]));
    let [bins] = product.bins();
    bins.iter().map(|b| [b.lab[0], b.lab[1], b.lab[2], b.weight]).collect()
}

/// What is measured against: the name of the largest of five k-means clusters of the photo, background, skin and all;
/// `without_white` leaves out what is nearly white (L above 93, chroma below 8), unless that is everything.
pub(crate) fn of_whole(photo: &Photo, without_white: bool) -> BasicColor {
    let working = Working::new(photo);
    let white = |lab: &Lab| lab[0] > 93.0 && lab::chroma(*lab) < 8.0;
    let all = |drop: bool| bins::histogram(working.lab.iter().filter(|l| !(drop && white(l))).map(|l| (*l, 1.0)));
    let mut bins = all(without_white);
    if bins.is_empty() {
        bins = all(false);
    }
    let clusters = cluster::kmeans(&bins, 5);
    let largest = clusters.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
    NAMES[names::top(&names::probabilities(largest.map_or([0.0; 3], |c| c.lab)))]
}

/// The basic name of one sRGB color, `#rrggbb` or `#rgb`; `None` for anything else.
pub(crate) fn basic_name(hex: &str) -> Option<BasicColor> {
    // `palette` also takes signs and goes without the `#`.
    hex.strip_prefix('#').filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
    let color: Srgb<u8> = hex.parse().ok()?;
    let lab = lab::Converter::new().lab([color.red, color.green, color.blue]);
    Some(NAMES[names::top(&names::probabilities(lab))])
}

/// Mean of a mask, 0 to 1.
fn share(mask: &[u8]) -> f32 {
    let sum: u64 = mask.iter().map(|v| u64::from(*v)).sum();
    sum as f32 / (255 * mask.len().max(1)) as f32
}

/// Hands over each pixel with its weights: as product, as flat product, as flat background. Pixels near the middle count
/// more for the product; those on edges, which are of no one color, count little for what is flat.
#[inline(always)]
fn weigh(masks: &Masks, mut pixel: impl FnMut(Lab, [f32; 3])) {
    let (width, height) = (masks.working.width, masks.working.height);
    let along = |n: usize| -> Vec<f32> {
        (0..n)
            .map(|i| {
                let u = (2.0 * (i as f32 + 0.5) / n as f32 - 1.0) / CENTER;
                (-0.5 * u * u).exp()
            })
            .collect()
    };
    let (columns, rows) = (along(width), along(height));
    // Half-covered pixels are mixtures with the background: below a half they count nothing.
    let cover = |m: u8| if m < 128 { 0.0 } else { f32::from(m) * (1.0 / 255.0) };
    let planes = masks.working.lab.chunks_exact(width).zip(masks.gradient.chunks_exact(width));
    let planes = planes.zip(masks.product.chunks_exact(width)).zip(masks.background.chunks_exact(width));
    for ((((labs, steps), product), ground), row) in planes.zip(rows) {
        let pixels = labs.iter().zip(steps).zip(product.iter().zip(ground)).zip(&columns);
        for (((lab, step), (product, ground)), column) in pixels {
            let step = step * (1.0 / EDGE);
            let level = 1.0 / (1.0 + step * step);
            let product = cover(*product) * column * row;
            pixel(*lab, [product, product * level, cover(*ground) * level]);
        }
    }
}

/// A color with what is needed to reconsider its name.
struct Described {
    color: NamedColor,
    lab: Lab,
    shine: f32,
    p: [f32; 12],
}

/// Colors of a histogram, largest share first; shares sum to 1.
fn describe(bins: &[Bin], most: usize) -> Vec<Described> {
    let mut clusters = merge::merge(bins, cluster::kmeans(bins, SEEDS));
    clusters.truncate(most);
    let total: f32 = clusters.iter().map(|c| c.weight).sum();
    clusters.iter().map(|c| one(bins, c, c.weight / total)).collect()
}

fn one(bins: &[Bin], cluster: &Cluster, share: f32) -> Described {
    let lab = cluster.lab;
    let p = names::probabilities(lab);
    let spread: f32 = cluster.members.iter().map(|&m| bins[m].weight * (bins[m].lab[0] - lab[0]).powi(2)).sum();
    let shine = (spread / cluster.weight).sqrt();
    let [r, g, b] = lab::to_srgb(lab);
    let name = NAMES[names::top(&p)];
    let color = NamedColor {
        hex: format!("#{r:02x}{g:02x}{b:02x}"),
        // Adding zero turns -0 into 0.
        lab: lab.map(|v| (v * 100.0).round() / 100.0 + 0.0),
        name,
        retail_name: retail::name(name, lab, shine).to_owned(),
        shade: shade::name(lab).to_owned(),
        share,
        source: ColorSource::Pixels,
    };
    Described { color, lab, shine, p }
}

/// Whether no single color names the product, and the share of the name with the largest one.
fn many(colors: &[Described]) -> (bool, f32) {
    let mut shares = [0.0f32; 12];
    for d in colors {
        shares[names::top(&d.p)] += d.color.share;
    }
    let most = shares.iter().copied().fold(0.0, f32::max);
    let present = shares.iter().filter(|s| **s > 0.12).count();
    (present >= 3 && most < 0.55, most)
}

/// Names the product as a whole: the pixels' vote, weighed against the model's word where there is one. The color that
/// carries the name comes first. Returns the probability of the name.
fn settle(dominant: &mut [Described], vote: [f32; 12], prior: Option<&ColorPrior>) -> f32 {
    let measured = names::top(&vote);
    let said = prior.and_then(spread);
    let mut p = vote;
    if let Some(said) = &said {
        // Both are probabilities of the same thing, and neither is independent of the other.
        for (slot, model) in p.iter_mut().zip(said) {
            *slot = (*slot + DOUBT).powf(PIXELS) * (model + DOUBT).powf(1.0 - PIXELS);
        }
        let sum: f32 = p.iter().sum();
        p = p.map(|v| v / sum);
    }
    let chosen = names::top(&p);
    let largest = dominant.iter().map(|d| d.color.share).fold(0.0, f32::max);
    let carries = |d: &Described| d.p[chosen] >= OWN && d.color.share >= CARRIER * largest;
    if let Some(at) = dominant.iter().position(carries) {
        dominant[..=at].rotate_right(1);
    }
    if let Some(first) = dominant.first_mut() {
        first.color.name = NAMES[chosen];
        first.color.retail_name = retail::name(first.color.name, first.lab, first.shine).to_owned();
        first.color.source = match (chosen == measured, said.is_some_and(|said| chosen == names::top(&said))) {
            (true, false) => ColorSource::Pixels,
            (false, true) => ColorSource::Model,
            _ => ColorSource::Both,
        };
    }
    p[chosen]
}

/// The model's probabilities over [`NAMES`], what is missing to 1 spread evenly; `None` for an empty or broken prior.
fn spread(prior: &ColorPrior) -> Option<[f32; 12]> {
    let mut p = [0.0f32; 12];
    for (name, v) in &prior.0 {
        let at = NAMES.iter().position(|n| n == name)?;
        if !v.is_finite() || *v < 0.0 {
            return None;
        }
        p[at] += v;
    }
    let sum: f32 = p.iter().sum();
    if sum <= 0.0 {
        return None;
    }
    let rest = (1.0 - sum).max(0.0) / 12.0;
    let total = sum.max(1.0);
    Some(p.map(|v| v / total + rest))
}
