//! Skin and hair: candidates by color, the decision by region.
//! No color rule separates skin from a beige, tan or brown garment (they lie within 10 units of the same line), so a
//! candidate region counts as skin only for its place and shape and for what else is in the picture.

use super::Body;
use super::grid::{Component, Size, components, dilate, grow};
use super::working::Working;
use crate::color::lab::{Converter, Lab, squared};

/// Monk Skin Tone scale (Ellis Monk, Google, 2022), lightest first.
pub(super) const MONK: [u32; 10] =
    [0xf6ede4, 0xf3e7db, 0xf7ead0, 0xeadaba, 0xd7bd96, 0xa07e56, 0x825c43, 0x604134, 0x3a312a, 0x292420];
/// Furthest a candidate may lie from the line, after the allowance for redness.
const NEAR: f32 = 10.5;
/// Photos are redder and more saturated than the scale: distance toward +a and +b counts this much.
const REDNESS: f32 = 0.45;
const YELLOWNESS: f32 = 0.7;

/// The ten tones in CIELAB.
fn line() -> [Lab; 10] {
    let converter = Converter::new();
    MONK.map(|v| {
        let [_, r, g, b] = v.to_be_bytes();
        converter.lab([r, g, b])
    })
}

/// Distance to the line of tones; differences toward red and yellow are scaled down.
fn off_line(lab: Lab, line: &[Lab; 10]) -> f32 {
    let mut least = f32::INFINITY;
    for pair in line.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let along = [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
        let length: f32 = along.iter().map(|v| v * v).sum::<f32>().max(1e-6);
        let dot: f32 = (0..3).map(|k| (lab[k] - from[k]) * along[k]).sum();
        let t = (dot / length).clamp(0.0, 1.0);
        let mut near: Lab = [0, 1, 2].map(|k| from[k] + t * along[k]);
        if lab[1] > near[1] {
            near[1] = lab[1] - (lab[1] - near[1]) * REDNESS;
        }
        if lab[2] > near[2] {
            near[2] = lab[2] - (lab[2] - near[2]) * YELLOWNESS;
        }
        least = least.min(squared(lab, near));
    }
    least.sqrt()
}

/// A region of candidate pixels, measured.
struct Region {
    part: Component,
    lab: Lab,
    /// Mean edge strength inside (CIE76 a pixel): skin is smooth.
    texture: f32,
    /// Share of the region's outline that borders on background.
    bare: f32,
}

/// Finds skin and hair inside `product`, without a region map.
pub(super) fn find(picture: &Working, size: Size, product: &[bool], gradient: &[f32]) -> Body {
    let mut body = Body { skin: vec![false; size.len()], hair: vec![false; size.len()], ambiguous: false };
    let area = product.iter().filter(|p| **p).count();
    if area < 64 {
        return body;
    }
    let line = line();
    // Contours cut candidates apart: an arm from the tan bag it carries.
    let candidate: Vec<bool> =
        (0..size.len()).map(|i| product[i] && gradient[i] < 9.0 && plausible(picture.lab[i], &line)).collect();
    let regions: Vec<Region> = components(size, &candidate)
        .into_iter()
        .filter(|part| part.area() * 500 > area)
        .map(|part| measure(picture, size, product, gradient, part))
        .collect();
    let face = regions
        .iter()
        .enumerate()
        .filter(|(_, r)| looks_like_face(picture, size, product, r, area))
        .max_by_key(|(_, r)| r.part.area())
        .map(|(at, _)| at);
    let candidates: usize = regions.iter().map(|r| r.part.area()).sum();
    for (at, region) in regions.iter().enumerate() {
        let verdict = judge(size, region, face.map(|f| (f == at, regions[f].lab)), area, candidates);
        match verdict {
            Verdict::Skin => region.part.pixels.iter().for_each(|&i| body.skin[i] = true),
            Verdict::Unsure => body.ambiguous = true,
            Verdict::Product => {}
        }
    }
    if let Some(face) = face {
        body.hair = hair(picture, size, product, &regions[face].part, &body.skin);
    }
    // Lips, eyes and the contour pixels left out above belong to the skin around them.
    let grown = dilate(size, &body.skin, 1);
    for i in 0..size.len() {
        body.skin[i] |= grown[i] && product[i] && !body.hair[i] && off_line(picture.lab[i], &line) < 2.0 * NEAR;
    }
    body
}

/// Near the line of tones, and warm: white cotton lies 6 units from the pale end, and the pale tones are a little green.
fn plausible(lab: Lab, line: &[Lab; 10]) -> bool {
    let warm = lab[1] > -2.5 && lab[2] > 1.0;
    warm && (8.0..96.0).contains(&lab[0]) && off_line(lab, line) < NEAR
}

fn measure(picture: &Working, size: Size, product: &[bool], gradient: &[f32], part: Component) -> Region {
    let n = part.area() as f32;
    let mut lab = [0.0f32; 3];
    let mut texture = 0.0;
    let (mut outline, mut bare) = (0usize, 0usize);
    for &i in &part.pixels {
        for (sum, v) in lab.iter_mut().zip(picture.lab[i]) {
            *sum += v;
        }
        texture += gradient[i];
        let (x, y) = size.xy(i);
        // Three pixels outward: contour pixels lie between the region and the background.
        for (dx, dy) in [(-4i32, 0i32), (4, 0), (0, -4), (0, 4)] {
            let (u, v) = (x as i32 + dx, y as i32 + dy);
            let outside = u < 0 || v < 0 || u >= size.width as i32 || v >= size.height as i32;
            if outside {
                continue;
            }
            let j = v as usize * size.width + u as usize;
            outline += 1;
            bare += usize::from(!product[j]);
        }
    }
    Region { lab: lab.map(|v| v / n), texture: texture / n, bare: bare as f32 / outline.max(1) as f32, part }
}

/// A compact region in the upper part, near the middle of the product, with something dark (hair) above or beside it.
fn looks_like_face(picture: &Working, size: Size, product: &[bool], region: &Region, area: usize) -> bool {
    let part = &region.part;
    let (w, h) = (part.xs.len() as f32, part.ys.len() as f32);
    let share = part.area() as f32 / area as f32;
    let filled = part.area() as f32 / (w * h);
    let high = part.ys.start as f32 <= 0.25 * size.height as f32 && part.center_y(size) < 0.42 * size.height as f32;
    if !high || !(0.008..0.35).contains(&share) || filled < 0.35 || w > 0.6 * size.width as f32 {
        return false;
    }
    // Darker pixels in the band above the region's upper third and beside it.
    let reach = (w * 0.35) as usize + 2;
    let rows = part.ys.start.saturating_sub(reach)..part.ys.start + part.ys.len() / 3 + 1;
    let columns = part.xs.start.saturating_sub(reach)..(part.xs.end + reach).min(size.width);
    let dark = rows
        .flat_map(|y| columns.clone().map(move |x| y * size.width + x))
        .filter(|&i| product[i] && is_hair(picture.lab[i], region.lab))
        .count();
    dark * 100 > part.area() * 12
}

/// Clearly darker than the face, of little chroma or brown.
fn is_hair(lab: Lab, face: Lab) -> bool {
    // Dark faces leave less room below them.
    let darker = face[0] - (0.45 * face[0]).min(14.0);
    lab[0] < darker.min(48.0) && lab[1].hypot(lab[2]) < 24.0 && lab[2] > -6.0
}

enum Verdict {
    Skin,
    Product,
    Unsure,
}

/// Decides one region. `face` says whether it is the face itself, and the face's color.
fn judge(size: Size, region: &Region, face: Option<(bool, Lab)>, area: usize, candidates: usize) -> Verdict {
    let share = region.part.area() as f32 / area as f32;
    let rest = 1.0 - candidates as f32 / area as f32;
    if let Some((is_face, tone)) = face {
        let [dl, da, db] = [0, 1, 2].map(|k| region.lab[k] - tone[k]);
        // The same skin in other light: lightness may differ much, hue little.
        let alike = (0.45 * dl).hypot(da).hypot(db) < 11.0;
        return match (is_face || alike, share) {
            (true, s) if s < 0.30 && (rest > 0.12 || is_face) => Verdict::Skin,
            (true, s) if s < 0.45 => Verdict::Unsure,
            _ => Verdict::Product,
        };
    }
    // No face in the picture: hands, legs and necks reach out of the product (much of their outline is bare) or are
    // cut by the picture's edge; a skin-colored panel is inside it, and a skin-colored product is most of it.
    let cut = region.part.ys.end == size.height
        || region.part.ys.start == 0
        || region.part.xs.start == 0
        || region.part.xs.end == size.width;
    let limb = region.texture < 2.6 && (region.bare > 0.10 || cut);
    let person = size.height as f32 > 1.1 * size.width as f32 || cut;
    match (limb && person, share) {
        (true, s) if s < 0.25 && rest > 0.35 => Verdict::Skin,
        (true, s) if s < 0.5 && rest > 0.2 => Verdict::Unsure,
        _ => Verdict::Product,
    }
}

/// Hair, grown from the dark pixels around the face, within twice its box.
fn hair(picture: &Working, size: Size, product: &[bool], face: &Component, skin: &[bool]) -> Vec<bool> {
    let n = face.area() as f32;
    let mut tone = [0.0f32; 3];
    for &i in &face.pixels {
        for (sum, v) in tone.iter_mut().zip(picture.lab[i]) {
            *sum += v / n;
        }
    }
    let (w, h) = (face.xs.len(), face.ys.len());
    let columns = face.xs.start.saturating_sub(w)..(face.xs.end + w).min(size.width);
    // Down to the chin only: below it a dark collar begins.
    let rows = face.ys.start.saturating_sub(h)..face.ys.start + (h * 3 / 4).max(1);
    let allowed = |i: usize| {
        let (x, y) = size.xy(i);
        columns.contains(&x) && rows.contains(&y) && product[i] && is_hair(picture.lab[i], tone)
    };
    let near = dilate(size, skin, 3);
    let seeds: Vec<usize> = (0..size.len()).filter(|&i| near[i] && allowed(i)).collect();
    grow(size, seeds.into_iter(), allowed)
}
