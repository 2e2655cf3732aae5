//! `Photo` (and the region map as a prior, where the model gives one) to [`Masks`]: product, skin, background.
//!
//! The way through the room: a small picture in CIELAB (`working`); its border as one or two smooth surfaces
//! (`border`); a flood from the border that edges stop (`flood`, `edges`); holes, shadows and specks (`cleanup`); soft
//! edges by an adaptive threshold (`sauvola`); skin and hair by region (`skin`). Where the border is no studio wall,
//! color statistics and a center prior guess (`scene`), with a confidence that says so.
//!
//! Tried and rejected: Canny on the full picture (most of 16 ms; see `edges`); background by color alone (eats white
//! shirts); skin by pixel (catches tan, camel and leather: see `skin`).

mod border;
mod cleanup;
mod edges;
mod flood;
mod grid;
mod sauvola;
mod scene;
mod skin;
#[cfg(test)]
mod tests;
pub(crate) mod working;

use crate::color::lab::Lab;
use crate::model::RegionMap;
use crate::photo::Photo;
use border::Border;
use grid::Size;
use image::GrayImage;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use working::Working;

/// Which pixels are what, at a working size.
#[derive(Clone, Debug)]
pub struct Masks {
    /// Share of each pixel that is product sold, (H, W), 0 to 255.
    pub product: GrayImage,
    /// Skin and hair, (H, W), 0 to 255.
    pub skin: GrayImage,
    /// Background, shadow and reflection, (H, W), 0 to 255.
    pub background: GrayImage,
    /// What kind of background was found.
    pub kind: BackgroundKind,
    /// How far the masks can be trusted, 0 to 1.
    pub confidence: f32,
    /// What a reader of the result should know.
    pub flags: Vec<Flag>,
    /// The picture the masks were made on, for the palette.
    pub(crate) working: Working,
}

/// What stands behind the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackgroundKind {
    /// The photo's own alpha channel says.
    Alpha,
    /// One flat color.
    Plain,
    /// A smooth gradient, as studios have.
    Gradient,
    /// A scene: street, room, textured floor.
    Scene,
    /// None: the product fills the picture (fabric close-ups).
    None,
}

/// What a reader of an analysis should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Skin and a skin-colored product could not be told apart.
    SkinAmbiguous,
    /// Product and background have about the same color.
    LowContrast,
    /// The background is a scene; the product's region is a guess.
    SceneBackground,
    /// No product could be separated; the whole photo was used.
    WholePhoto,
    /// The photo is too small for reliable colors.
    TinyPhoto,
}

/// Below this share of the picture there is no product to speak of.
const LEAST_PRODUCT: f32 = 0.004;
/// Shorter side, in pixels, below which colors are mostly interpolation and JPEG blocks.
const TINY: u32 = 32;

/// A mask before skin is taken out: share of product a pixel, 0 to 1.
struct Cut {
    product: Vec<f32>,
    kind: BackgroundKind,
    confidence: f32,
    flags: Vec<Flag>,
}

/// Separates product, skin and background. Never fails: where nothing can be told, the whole photo is product,
/// with confidence near 0.
pub fn segment(photo: &Photo, prior: Option<&RegionMap>) -> Masks {
    let working = Working::new(photo);
    let size = Size { width: working.width, height: working.height };
    let maps = prior.and_then(|map| Maps::new(map, size));
    let gradient = edges::gradient(&working, size);
    let mut cut = by_alpha(&working).unwrap_or_else(|| {
        let border = border::fit(&working, size);
        by_border(&working, size, &border, &gradient)
            .unwrap_or_else(|| by_statistics(&working, size, &border, maps.as_ref()))
    });
    let hard: Vec<bool> = cut.product.iter().map(|p| *p > 0.5).collect();
    let area = hard.iter().filter(|p| **p).count();
    if (area as f32) < LEAST_PRODUCT * size.len() as f32 {
        cut = whole(size, cut.kind, 0.05);
    }
    let skin = if cut.kind == BackgroundKind::None {
        None
    } else {
        let prior = maps.as_ref().map(|m| m.skin.as_slice());
        Some(skin::find(&working, size, &hard, &gradient, prior))
    };
    finish(working, size, cut, skin, maps.as_ref())
}

/// The photo's own alpha, where it cuts something out.
fn by_alpha(working: &Working) -> Option<Cut> {
    let alpha = working.alpha.as_ref()?;
    let clear = alpha.iter().filter(|a| **a < 128).count();
    // A stray pixel or a soft vignette is no cutout.
    if clear * 100 < alpha.len() || clear == alpha.len() {
        return None;
    }
    Some(Cut {
        product: alpha.iter().map(|a| f32::from(*a) / 255.0).collect(),
        kind: BackgroundKind::Alpha,
        confidence: 0.98,
        flags: Vec::new(),
    })
}

/// Studio backgrounds; `None` where the border is no smooth surface.
fn by_border(working: &Working, size: Size, border: &Border, gradient: &[f32]) -> Option<Cut> {
    // A flat surface may show little of itself between the edges of a close crop; a noisy one must dominate.
    let clear = border.share > 0.25 && border.noise < 1.5;
    // Stripes of a fabric are flat, too, but then the middle has the border's colors.
    let fabric = border.share < 0.7 && scene::fabric(working, size);
    if fabric || border.planes.is_empty() || !(clear || (border.share > 0.55 && border.noise < 5.0)) {
        return None;
    }
    let distance = border::distance(working, size, border);
    let mut background = flood::background(size, &distance, gradient, border.noise, true);
    flood::creep(size, &mut background, &distance, border.noise, 5);
    let mut surface = Vec::with_capacity(size.len());
    for i in 0..size.len() {
        let (x, y) = border::unit(size, i);
        let own = working.lab[i];
        let near = border.planes.iter().map(|p| p.at(x, y)).min_by(|a, b| {
            let d = |p: Lab| crate::color::lab::squared(p, own);
            d(*a).total_cmp(&d(*b))
        });
        surface.push(near.unwrap_or(own));
    }
    cleanup::open_holes(size, &mut background, &distance, border.noise);
    let shadow = cleanup::shadow(working, size, &background, &surface, gradient);
    for (b, s) in background.iter_mut().zip(&shadow) {
        *b |= s;
    }
    let mut product: Vec<bool> = background.iter().map(|b| !b).collect();
    cleanup::drop_specks(size, &mut product, 0.02);
    let soft = soften(size, &product, &distance, border.noise);
    Some(studio(size, border, soft, &distance))
}

/// Soft edges: pixels near the outline get a share by the adaptive threshold, the inside stays whole.
fn soften(size: Size, product: &[bool], distance: &[f32], noise: f32) -> Vec<f32> {
    let outside: Vec<bool> = product.iter().map(|p| !p).collect();
    // Closed edges keep the flood up to three pixels away from the product.
    let band: Vec<bool> =
        grid::dilate(size, &outside, 3).iter().zip(product).map(|(near, inside)| *near && *inside).collect();
    let thresholds = sauvola::thresholds(size, distance, &band, flood::reach(noise));
    (0..size.len())
        .map(|i| match (product[i], band[i]) {
            (false, _) => 0.0,
            (true, false) => 1.0,
            (true, true) => sauvola::soft(distance[i], thresholds[i]),
        })
        .collect()
}

/// Kind, confidence and flags of a studio cut.
fn studio(size: Size, border: &Border, product: Vec<f32>, distance: &[f32]) -> Cut {
    let slope = border.planes.iter().map(border::Plane::slope).fold(0.0, f32::max);
    let kind = if slope > 6.0 || border.planes.len() > 1 { BackgroundKind::Gradient } else { BackgroundKind::Plain };
    let (mut area, mut contrast) = (0.0f32, 0.0f32);
    for (p, d) in product.iter().zip(distance) {
        area += p;
        contrast += p * d.min(50.0);
    }
    contrast /= area.max(1.0);
    let mut flags = Vec::new();
    // About what white shirts on white keep of a distance to it.
    if contrast < 8.0 {
        flags.push(Flag::LowContrast);
    }
    let fill = area / size.len() as f32;
    let mut confidence = 0.97 * (0.5 + 0.5 * border.share);
    confidence *= (1.0 - border.noise / 12.0).clamp(0.3, 1.0);
    confidence *= (0.4 + contrast / 20.0).min(1.0);
    // Next to nothing found, or nearly everything: less sure.
    confidence *= (fill / 0.03).clamp(0.3, 1.0) * ((1.0 - fill) / 0.1).clamp(0.4, 1.0);
    Cut { product, kind, confidence, flags }
}

/// Scenes and fabrics.
fn by_statistics(working: &Working, size: Size, border: &Border, maps: Option<&Maps>) -> Cut {
    if maps.is_none_or(Maps::fills) && scene::fabric(working, size) {
        let mut cut = whole(size, BackgroundKind::None, 0.5);
        // The product fills the picture on purpose: nothing failed to be separated.
        cut.flags.clear();
        return cut;
    }
    let prior = maps.map(|m| m.product.as_slice());
    let product = scene::product(working, size, prior);
    let trust = if maps.is_some() { 0.5 } else { 0.3 };
    Cut {
        product,
        kind: BackgroundKind::Scene,
        confidence: trust * (1.0 - 0.5 * border.share),
        flags: vec![Flag::SceneBackground],
    }
}

/// The whole photo as product.
fn whole(size: Size, kind: BackgroundKind, confidence: f32) -> Cut {
    // An empty studio picture has no background either: all of it is what was photographed.
    let kind = match kind {
        BackgroundKind::Scene => BackgroundKind::Scene,
        _ => BackgroundKind::None,
    };
    Cut { product: vec![1.0; size.len()], kind, confidence, flags: vec![Flag::WholePhoto] }
}

/// Puts the three masks together.
fn finish(working: Working, size: Size, mut cut: Cut, skin: Option<skin::Skin>, maps: Option<&Maps>) -> Masks {
    let mut skin_plane = vec![0u8; size.len()];
    let mut background = vec![0u8; size.len()];
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
    let weights: Vec<f32> = cut.product.clone();
    for (i, &p) in weights.iter().enumerate() {
        background[i] = byte(1.0 - p);
        if skin.as_ref().is_some_and(|s| s.mask[i]) {
            skin_plane[i] = byte(p);
            cut.product[i] = 0.0;
        }
        if let Some(maps) = maps {
            // The model tells the jeans from the shirt sold; a floor keeps a wrong map from erasing the product. Where a
            // border or alpha has cut the picture, the map has no say on what is background: its cells are coarser.
            let sold = match cut.kind {
                BackgroundKind::Scene => maps.product[i],
                _ => maps.sold(i),
            };
            cut.product[i] *= 0.25 + 0.75 * sold;
        }
    }
    if skin.is_some_and(|s| s.ambiguous) {
        cut.flags.push(Flag::SkinAmbiguous);
        cut.confidence *= 0.8;
    }
    if working.short_side < TINY {
        cut.flags.push(Flag::TinyPhoto);
        cut.confidence *= 0.5;
    }
    let gray = |plane: Vec<u8>| GrayImage::from_raw(size.width as u32, size.height as u32, plane).unwrap_or_default();
    cut.flags.sort();
    Masks {
        product: gray(cut.product.iter().map(|p| byte(*p)).collect()),
        skin: gray(skin_plane),
        background: gray(background),
        kind: cut.kind,
        confidence: cut.confidence.clamp(0.0, 1.0),
        flags: cut.flags,
        working,
    }
}

/// The region map at working size.
struct Maps {
    product: Vec<f32>,
    skin: Vec<f32>,
    other: Vec<f32>,
}

impl Maps {
    /// Bilinear between cell centers; `None` for a map whose planes do not have the size it states.
    fn new(map: &RegionMap, size: Size) -> Option<Self> {
        let cells = map.width * map.height;
        if cells == 0 || [&map.product, &map.skin, &map.other].iter().any(|plane| plane.len() != cells) {
            return None;
        }
        // The same for every row and plane: which cells, and how far between them.
        let across: Vec<_> = (0..size.width).map(|x| between(x, size.width, map.width)).collect();
        let sane = |v: f32| if v.is_finite() { v.clamp(0.0, 1.0) } else { 0.0 };
        let plane = |cells: &[f32]| -> Vec<f32> {
            let cells: Vec<f32> = cells.iter().map(|v| sane(*v)).collect();
            let mut row = vec![0.0f32; map.width];
            let mut out = Vec::with_capacity(size.len());
            for y in 0..size.height {
                let (y0, y1, ty) = between(y, size.height, map.height);
                let (top, low) = (&cells[y0 * map.width..], &cells[y1 * map.width..]);
                for (slot, (t, l)) in row.iter_mut().zip(top.iter().zip(low)) {
                    *slot = t * (1.0 - ty) + l * ty;
                }
                out.extend(across.iter().map(|&(x0, x1, tx)| row[x0] * (1.0 - tx) + row[x1] * tx));
            }
            out
        };
        Some(Self { product: plane(&map.product), skin: plane(&map.skin), other: plane(&map.other) })
    }

    /// Share of what is clothing or goods at pixel `i` that is product, 0 to 1; 1 where the map sees neither.
    fn sold(&self, i: usize) -> f32 {
        const FAINT: f32 = 0.05;
        (self.product[i] + FAINT) / (self.product[i] + self.other[i] + FAINT)
    }

    /// True when the model, too, sees product nearly everywhere.
    fn fills(&self) -> bool {
        self.product.iter().sum::<f32>() > 0.7 * self.product.len() as f32
    }
}

/// Cells on both sides of pixel `at` of `pixels`, and how far it lies toward the second.
fn between(at: usize, pixels: usize, cells: usize) -> (usize, usize, f32) {
    let x = ((at as f32 + 0.5) / pixels as f32 * cells as f32 - 0.5).max(0.0);
    let low = (x as usize).min(cells - 1);
    (low, (low + 1).min(cells - 1), x - low as f32)
}
