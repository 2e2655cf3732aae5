//! What the picture's border looks like: one or two smooth surfaces in CIELAB, or nothing of the kind.
//! Studio backgrounds are a plane (flat, or a gradient) or two (wall and floor); a scene or a fabric fits neither.

use super::grid::Size;
use super::working::Working;
use crate::color::lab::{Lab, squared};
use multiversion::multiversion;

/// Width of the ring, as a share of the shorter side.
const RING: f32 = 0.025;
/// Of a ring of more pixels than this one in every [`GROUP`] is looked at: what 1,000 show, 5,000 show.
const DENSE: usize = 2000;
const GROUP: usize = 5;
/// A pixel further than this from every surface never counts as background (CIE76).
const MAX_RADIUS: f32 = 12.0;

/// A background surface: L, a and b are each `c0 + c1 x + c2 y`, x and y from -1 to 1 over the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane([[f32; 3]; 3]);

impl Plane {
    pub(super) fn at(&self, x: f32, y: f32) -> Lab {
        self.0.map(|c| c[0] + c[1] * x + c[2] * y)
    }

    /// Largest difference between two corners (CIE76): 0 for a flat color.
    pub(super) fn slope(&self) -> f32 {
        let corners = [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)].map(|(x, y)| self.at(x, y));
        let mut most = 0.0f32;
        for one in corners {
            for two in corners {
                most = most.max(squared(one, two));
            }
        }
        most.sqrt()
    }
}

/// The model of the border.
#[derive(Clone, Debug)]
pub(super) struct Border {
    /// Surfaces found, the largest first; none for a ring without pixels.
    pub(super) planes: Vec<Plane>,
    /// Share of the ring within reach of a surface, 0 to 1.
    pub(super) share: f32,
    /// Root mean square distance of those pixels to it (CIE76).
    pub(super) noise: f32,
}

struct Sample {
    x: f32,
    y: f32,
    lab: Lab,
    /// 0 left, 1 right, 2 top, 3 bottom.
    side: usize,
}

/// Position of pixel `i` from -1 to 1 in both directions.
pub(super) fn unit(size: Size, i: usize) -> (f32, f32) {
    let (x, y) = size.xy(i);
    (along(x, size.width), along(y, size.height))
}

#[inline(always)]
fn along(v: usize, n: usize) -> f32 {
    if n > 1 { 2.0 * v as f32 / (n - 1) as f32 - 1.0 } else { 0.0 }
}

/// Width of the border ring in pixels.
pub(super) fn ring_width(size: Size) -> usize {
    ((size.width.min(size.height) as f32 * RING).round() as usize).max(2)
}

/// True for pixels of the ring.
pub(super) fn in_ring(size: Size, i: usize) -> bool {
    let (x, y) = size.xy(i);
    let ring = ring_width(size);
    x < ring || y < ring || x + ring >= size.width || y + ring >= size.height
}

/// The pixels of the ring, row by row.
fn ring(size: Size) -> impl Iterator<Item = usize> {
    let (width, height, deep) = (size.width, size.height, ring_width(size));
    let wide = deep.min(width);
    (0..height).flat_map(move |y| {
        let full = y < deep || y + deep >= height || 2 * deep >= width;
        let (left, right) = if full { (0..width, 0..0) } else { (0..wide, width - wide..width) };
        left.chain(right).map(move |x| y * width + x)
    })
}

/// Fits the border of `picture`.
pub(super) fn fit(picture: &Working, size: Size) -> Border {
    let ring: Vec<usize> = ring(size).collect();
    let group = if ring.len() > DENSE { GROUP } else { 1 };
    let samples = ring.chunks(group).enumerate().map(|(n, group)| {
        // Knuth's multiplicative hash picks: a fixed step would see one color only of stripes that wide.
        let pick = ((n as u32).wrapping_mul(2_654_435_761) >> 16) as usize;
        sample(picture, size, group[pick % group.len()])
    });
    let ring: Vec<Sample> = samples.collect();
    let mut free: Vec<&Sample> = ring.iter().collect();
    let mut border = Border { planes: Vec::new(), share: 0.0, noise: 0.0 };
    let mut error = 0.0;
    let mut covered = 0;
    for nth in 0..2 {
        let Some((plane, radius)) = surface(&free) else {
            break;
        };
        let (mine, rest): (Vec<_>, Vec<_>) =
            free.into_iter().partition(|s| squared(s.lab, plane.at(s.x, s.y)) <= radius * radius);
        free = rest;
        if nth > 0 && !spans(&mine, &ring) {
            break;
        }
        error += mine.iter().map(|s| squared(s.lab, plane.at(s.x, s.y))).sum::<f32>();
        covered += mine.len();
        border.planes.push(plane);
        if covered * 20 > ring.len() * 19 {
            break;
        }
    }
    border.share = covered as f32 / ring.len().max(1) as f32;
    border.noise = (error / covered.max(1) as f32).sqrt();
    border
}

fn sample(picture: &Working, size: Size, i: usize) -> Sample {
    let (px, py) = size.xy(i);
    let ring = ring_width(size);
    let side = if px < ring {
        0
    } else if px + ring >= size.width {
        1
    } else if py < ring {
        2
    } else {
        3
    };
    let (x, y) = unit(size, i);
    Sample { x, y, lab: picture.lab[i], side }
}

/// A second surface is background only if it reaches both the left and the right edge, as a floor does;
/// legs or a dress cut by the lower edge do not.
fn spans(mine: &[&Sample], ring: &[Sample]) -> bool {
    let share = |side: usize| {
        let all = ring.iter().filter(|s| s.side == side).count().max(1);
        let own = mine.iter().filter(|s| s.side == side).count();
        own as f32 / all as f32
    };
    mine.len() * 8 > ring.len() && share(0) > 0.15 && share(1) > 0.15
}

/// The best surface through part of the samples and the radius of its inliers: starts at the commonest color, then
/// fits and re-selects, which lets it follow a gradient outward.
#[multiversion(targets("x86_64+avx2"))]
fn surface(samples: &[&Sample]) -> Option<(Plane, f32)> {
    let start = mode(samples)?;
    let mut plane = Plane(start.map(|v| [v, 0.0, 0.0]));
    let mut radius = MAX_RADIUS;
    for _ in 0..6 {
        let near: Vec<&Sample> =
            samples.iter().copied().filter(|s| squared(s.lab, plane.at(s.x, s.y)) <= radius * radius).collect();
        plane = least_squares(&near).unwrap_or(plane);
        let sum: f32 = near.iter().map(|s| squared(s.lab, plane.at(s.x, s.y))).sum();
        let rms = (sum / near.len().max(1) as f32).sqrt();
        radius = (3.0 * rms).clamp(3.0, MAX_RADIUS);
    }
    Some((plane, radius))
}

/// Mean of the fullest cell of a coarse grid in CIELAB (8 units a side).
#[inline(always)]
fn mode(samples: &[&Sample]) -> Option<Lab> {
    let mut cells: std::collections::BTreeMap<[i16; 3], (u32, Lab)> = Default::default();
    for s in samples {
        let key = s.lab.map(|v| ((v + 4.0) / 8.0).floor() as i16);
        let cell = cells.entry(key).or_default();
        cell.0 += 1;
        for (sum, v) in cell.1.iter_mut().zip(s.lab) {
            *sum += v;
        }
    }
    let (n, sum) = cells.into_values().max_by_key(|(n, _)| *n)?;
    Some(sum.map(|v| v / n as f32))
}

/// Plane through samples by the normal equations; `None` where they do not determine one.
#[inline(always)]
fn least_squares(samples: &[&Sample]) -> Option<Plane> {
    let mut m = [[0.0f64; 3]; 3];
    let mut v = [[0.0f64; 3]; 3];
    for s in samples {
        let row = [1.0, f64::from(s.x), f64::from(s.y)];
        for i in 0..3 {
            for j in 0..3 {
                m[i][j] += row[i] * row[j];
                v[i][j] += row[i] * f64::from(s.lab[j]);
            }
        }
    }
    let det = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(&m);
    let n = samples.len() as f64;
    if whole <= 1e-4 * n * n * n {
        return None;
    }
    // Cramer's rule, a channel at a time.
    let mut out = [[0.0f32; 3]; 3];
    for (channel, coefficients) in out.iter_mut().enumerate() {
        for (column, c) in coefficients.iter_mut().enumerate() {
            let mut part = m;
            for row in 0..3 {
                part[row][column] = v[row][channel];
            }
            *c = (det(&part) / whole) as f32;
        }
    }
    Some(Plane(out))
}

/// CIE76 distance of every pixel to the nearest surface.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn distance(picture: &Working, size: Size, border: &Border) -> Vec<f32> {
    let across: Vec<f32> = (0..size.width).map(|x| along(x, size.width)).collect();
    let mut out = Vec::with_capacity(size.len());
    for (y, line) in picture.lab.chunks_exact(size.width).enumerate() {
        let v = along(y, size.height);
        // Along a row a plane is a line.
        let lines: Vec<(Lab, Lab)> = border.planes.iter().map(|p| (p.at(0.0, v), p.0.map(|c| c[1]))).collect();
        for (lab, u) in line.iter().zip(&across) {
            let mut near = 1e6f32;
            for (start, step) in &lines {
                let at = [start[0] + step[0] * u, start[1] + step[1] * u, start[2] + step[2] * u];
                near = near.min(squared(*lab, at));
            }
            out.push(near.sqrt());
        }
    }
    out
}

impl Border {
    /// The surface nearest to pixel `i`; its own color where there is none.
    pub(super) fn nearest(&self, picture: &Working, size: Size, i: usize) -> Lab {
        let ((x, y), own) = (unit(size, i), picture.lab[i]);
        let near = self.planes.iter().map(|p| p.at(x, y));
        near.min_by(|a, b| squared(*a, own).total_cmp(&squared(*b, own))).unwrap_or(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_what_lies_near_an_edge_once_each() {
        for (width, height) in [(1, 1), (3, 200), (200, 3), (5, 5), (64, 48), (256, 192)] {
            let size = Size { width, height };
            let expected: Vec<usize> = (0..size.len()).filter(|&i| in_ring(size, i)).collect();
            assert_eq!(ring(size).collect::<Vec<_>>(), expected, "{width} x {height}");
        }
    }
}
