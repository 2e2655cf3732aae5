//! Strength of edges: the gradient that stops the flood.
//! `imageproc::edges::canny` is not used: it sees luma only, so that a pastel garment on a pastel wall has no edge, and
//! it blurs and calls atan2 a pixel; the flood needs neither thin edges nor their direction.

use super::grid::Size;
use super::working::Working;
use multiversion::multiversion;

/// CIE76 difference across each pixel (central differences over two pixels, halved), row-major (height, width).
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn gradient(picture: &Working, size: Size) -> Vec<f32> {
    let mut out = Vec::with_capacity(size.len());
    let lines: Vec<&[f32]> = picture.lab.chunks_exact(size.width).map(<[_]>::as_flattened).collect();
    // Squares a channel first, in order: vector code, which gathering a pixel's four neighbors is not.
    let mut squares = vec![[0.0f32; 3]; size.width];
    for y in 0..size.height {
        let (above, own, below) = (lines[y.saturating_sub(1)], lines[y], lines[(y + 1).min(size.height - 1)]);
        let slots = squares.as_flattened_mut();
        for (slot, (above, below)) in slots.iter_mut().zip(above.iter().zip(below)) {
            *slot = (below - above) * (below - above);
        }
        let mut across = |at: usize, left: usize, right: usize| {
            let step = own[right] - own[left];
            slots[at] += step * step;
        };
        let last = own.len() - 3;
        for k in 0..3 {
            across(k, k, (k + 3).min(last + k));
            if last > 0 {
                across(last + k, last + k - 3, last + k);
            }
        }
        if let Some(inner) = slots.get_mut(3..last) {
            for (slot, (left, right)) in inner.iter_mut().zip(own.iter().zip(&own[6..])) {
                *slot += (right - left) * (right - left);
            }
        }
        out.extend(squares.iter().map(|[l, a, b]| 0.5 * (l + a + b).sqrt()));
    }
    out
}
