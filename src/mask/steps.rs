//! What a cut came from: the planes between photo and masks, kept only for a person who looks at them.

use super::grid::Size;
use image::GrayImage;

/// The planes between a photo and its masks, (H, W) at the working size, in the order they were made. A plane is empty
/// (0 x 0) where the way did not lead past it: no border to flood from, no region map.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Distance of each pixel to the border's surfaces: CIE76 times 5, from 51 on 255.
    pub distance: GrayImage,
    /// Strength of edges: CIE76 a pixel times 16, from 16 on 255.
    pub edges: GrayImage,
    /// What the flood from the border reached, 0 or 255.
    pub flood: GrayImage,
    /// Cast shadow joined to it, 0 or 255.
    pub shadow: GrayImage,
    /// What the region map and the search for holes changed: 255 made background, 128 made product, 0 neither.
    pub mended: GrayImage,
    /// The region map drawn to the picture's edges: product sold, other goods, skin, hair, background; 0 to 255.
    pub map: [GrayImage; 5],
}

impl Steps {
    /// Names and planes in order, without the map's; those the way did not lead past are left out.
    pub fn planes(&self) -> impl Iterator<Item = (&'static str, &GrayImage)> {
        let Self { distance, edges, flood, shadow, mended, map: _ } = self;
        let all = [("distance", distance), ("edges", edges), ("flood", flood), ("shadow", shadow), ("mended", mended)];
        all.into_iter().filter(|(_, plane)| !plane.is_empty())
    }
}

/// A plane of values, `scale` times each.
pub(super) fn values(size: Size, values: impl Iterator<Item = f32>, scale: f32) -> GrayImage {
    plane(size, values.map(|v| (v * scale).clamp(0.0, 255.0) as u8).collect())
}

/// A plane of marks.
pub(super) fn marks(size: Size, marks: &[bool]) -> GrayImage {
    plane(size, marks.iter().map(|m| u8::from(*m) * 255).collect())
}

/// What changed between two backgrounds.
pub(super) fn changes(size: Size, before: &[bool], after: &[bool]) -> GrayImage {
    let change = |(b, a): (&bool, &bool)| match (b, a) {
        (false, true) => 255,
        (true, false) => 128,
        _ => 0,
    };
    plane(size, before.iter().zip(after).map(change).collect())
}

fn plane(size: Size, bytes: Vec<u8>) -> GrayImage {
    GrayImage::from_raw(size.width as u32, size.height as u32, bytes).unwrap_or_default()
}
