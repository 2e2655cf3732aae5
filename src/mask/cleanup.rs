//! After the flood: holes, cast shadows and specks.
//! Each rule asks for evidence beyond color, because a product may have the color of its background.

use super::flood::reach;
use super::grid::{Component, Size, components, grow_beyond};
use super::working::Working;
use crate::color::lab::{Lab, chroma};

/// Distance to the background below which a pixel may be its shade, and step a pixel below which it is no contour (CIE76).
const SHADE: f32 = 12.0;
const CONTOUR: f32 = 3.0;
/// Share of a hole that is as flat as the border: of 60 photos, holes of belts have 0.45 and more, gaps beside arms 0.24 to
/// 0.75, a watch's dial has 0.08, white insoles have at most 0.13.
const FLAT: f32 = 0.25;
/// Mean of the region map's background in a hole below which there is none, and above which it needs no walls. Of the same
/// photos, belts, whose holes are narrower than a cell of the map, have 0.06 to 0.11, most gaps beside arms 0.3 and more,
/// white parts of shoes at most 0.02.
const SEEN: [f32; 2] = [0.04, 0.3];

/// Opens holes (between arm and body, inside a belt, bag handles): closed regions that are of the background's color in
/// part and its shade in the rest, without contours, large enough not to be a print's dots. A white dial on white is one as
/// well: a region map decides (`seen`, its share of background at each pixel), and where it is unsure or absent, walls do.
///
/// Only what is as flat as the border, without its shade, was tried first: of 60 photos it opened none, since arms and
/// belts shade what lies between.
pub(super) fn open_holes(
    size: Size,
    background: &mut [bool],
    distance: &[f32],
    gradient: &[f32],
    noise: f32,
    seen: Option<&[f32]>,
) {
    // As near to the surface as the border itself is.
    let near = (1.5 * noise + 0.8).min(0.6 * reach(noise));
    // Without a map, pale skin on white would be a shaded hole.
    let (shade, contour) = if seen.is_some() { (SHADE, CONTOUR) } else { (near, f32::INFINITY) };
    let inside: Vec<bool> =
        (0..size.len()).map(|i| !background[i] && distance[i] <= shade && gradient[i] < contour).collect();
    let total = size.len() as f32;
    let holes: Vec<Component> = components(size, &inside)
        .into_iter()
        // Smaller: buttons, dots. Larger: the front of a white shirt.
        .filter(|hole| (0.001..=0.10).contains(&(hole.area() as f32 / total)))
        .filter(|hole| hole.pixels.iter().filter(|&&i| distance[i] <= near).count() as f32 > FLAT * hole.area() as f32)
        .filter(|hole| match seen.map(|seen| hole.mean(seen)) {
            Some(open) if open > SEEN[1] => true,
            Some(open) if open < SEEN[0] => false,
            _ => hole.area() as f32 >= 0.002 * total && walled(size, hole, &inside, distance),
        })
        .collect();
    for hole in &holes {
        let alike = |other: &&Component| other.area() < 2 * hole.area() && hole.area() < 2 * other.area();
        // Four and more of a size are a pattern: stripes, checks, polka dots.
        if holes.iter().filter(alike).count() < 4 {
            hole.pixels.iter().for_each(|&i| background[i] = true);
        }
    }
}

/// True when nine tenths of the wall two to three pixels outside the hole are far from the background's color.
fn walled(size: Size, hole: &Component, inside: &[bool], distance: &[f32]) -> bool {
    let (mut wall, mut strong) = (0usize, 0usize);
    for &i in &hole.pixels {
        let edge = size.around(i).any(|n| !inside[n]);
        if !edge {
            continue;
        }
        let (x, y) = size.xy(i);
        let rows = y.saturating_sub(3)..(y + 4).min(size.height);
        let farthest = rows
            .flat_map(|v| {
                let columns = x.saturating_sub(3)..(x + 4).min(size.width);
                columns.map(move |u| v * size.width + u)
            })
            .map(|n| distance[n])
            .fold(0.0, f32::max);
        wall += 1;
        strong += usize::from(farthest > 15.0);
    }
    strong * 10 >= wall * 9
}

/// Cast shadows: darker than the background, of its chroma, smooth, and joined to it; below the product's middle.
/// Grey and white products are kept apart by their contour, which a shadow's soft edge lacks. Returns the shadow.
pub(super) fn shadow(
    picture: &Working,
    size: Size,
    background: &[bool],
    surface: impl Fn(usize) -> Lab,
    gradient: &[f32],
) -> Vec<bool> {
    // Steps above this a pixel are contours, not penumbras (CIE76); set by eye on studio shots.
    const SOFT: f32 = 4.0;
    let like = |i: usize| {
        let (own, back) = (picture.lab[i], surface(i));
        let darker = back[0] - own[0];
        let tint = chroma([0.0, own[1] - back[1], own[2] - back[2]]);
        // Darker light scales chroma down too, so colored backgrounds are allowed more.
        (0.5..45.0).contains(&darker) && tint < 3.0 + 0.25 * chroma(back) && gradient[i] < SOFT
    };
    let reached = grow_beyond(size, background, like);
    let mut shade: Vec<bool> = (0..size.len()).map(|i| reached[i] && !background[i]).collect();
    let product: Vec<usize> = (0..size.len()).filter(|&i| !reached[i]).map(|i| i / size.width).collect();
    let (Some(&top), Some(&bottom)) = (product.first(), product.last()) else {
        // Everything reached: this is a pale product without contour, not a shadow.
        shade.fill(false);
        return shade;
    };
    let middle = (top + bottom) as f32 / 2.0;
    for part in components(size, &shade) {
        let large = part.area() > product.len() / 2;
        let thin = part.area() * 50 < product.len();
        if large || (part.center_y(size) < middle && !thin) {
            for i in part.pixels {
                shade[i] = false;
            }
        }
    }
    shade
}

/// Drops specks: parts of the product below `share` of the largest part. Returns the largest part's area.
pub(super) fn drop_specks(size: Size, product: &mut [bool], share: f32) -> usize {
    let parts = components(size, product);
    let largest = parts.iter().map(Component::area).max().unwrap_or(0);
    for part in parts {
        if (part.area() as f32) < share * largest as f32 {
            for i in part.pixels {
                product[i] = false;
            }
        }
    }
    largest
}
