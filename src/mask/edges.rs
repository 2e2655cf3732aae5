//! Strength of edges: the gradient that stops the flood.
//! `imageproc::edges::canny` is not used: it sees luma only, so that a pastel garment on a pastel wall has no edge, and
//! it blurs and calls atan2 a pixel; the flood needs neither thin edges nor their direction.

use super::grid::Size;
use super::working::Working;

/// CIE76 difference across each pixel (central differences over two pixels, halved), row-major (height, width).
pub(super) fn gradient(picture: &Working, size: Size) -> Vec<f32> {
    let mut out = vec![0.0; size.len()];
    for y in 0..size.height {
        let up = y.saturating_sub(1) * size.width;
        let down = (y + 1).min(size.height - 1) * size.width;
        let row = y * size.width;
        for x in 0..size.width {
            let left = picture.lab[row + x.saturating_sub(1)];
            let right = picture.lab[row + (x + 1).min(size.width - 1)];
            let above = picture.lab[up + x];
            let below = picture.lab[down + x];
            let mut sum = 0.0;
            for k in 0..3 {
                let (dx, dy) = (right[k] - left[k], below[k] - above[k]);
                sum += dx * dx + dy * dy;
            }
            out[row + x] = 0.5 * sum.sqrt();
        }
    }
    out
}
