//! Pixel grids: neighbors, connected components, box sums by integral images, dilation.
//! Everything is row-major (height, width) and takes its size from a [`Size`].

use std::ops::Range;

/// Pixels across and down, both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Size {
    pub(super) fn len(self) -> usize {
        self.width * self.height
    }

    pub(super) fn xy(self, i: usize) -> (usize, usize) {
        (i % self.width, i / self.width)
    }

    /// The up to four neighbors of pixel `i`.
    pub(super) fn around(self, i: usize) -> impl Iterator<Item = usize> {
        let x = i % self.width;
        [
            (x > 0).then(|| i - 1),
            (x + 1 < self.width).then_some(i + 1),
            (i >= self.width).then(|| i - self.width),
            (i + self.width < self.len()).then_some(i + self.width),
        ]
        .into_iter()
        .flatten()
    }

    /// True for pixels of the outermost row or column.
    pub(super) fn at_border(self, i: usize) -> bool {
        let (x, y) = self.xy(i);
        x == 0 || y == 0 || x + 1 == self.width || y + 1 == self.height
    }
}

/// Grows from `seeds` through pixels that `admit`, four-connected; returns everything reached, seeds included.
pub(super) fn grow(size: Size, seeds: impl Iterator<Item = usize>, mut admit: impl FnMut(usize) -> bool) -> Vec<bool> {
    let mut reached = vec![false; size.len()];
    let mut stack: Vec<usize> = Vec::new();
    for seed in seeds {
        if !reached[seed] {
            reached[seed] = true;
            stack.push(seed);
        }
    }
    let (width, len) = (size.width, size.len());
    while let Some(i) = stack.pop() {
        let x = i % width;
        let mut visit = |n: usize| {
            if !reached[n] && admit(n) {
                reached[n] = true;
                stack.push(n);
            }
        };
        // As `around`, without its iterator: floods visit most of the picture.
        if x > 0 {
            visit(i - 1);
        }
        if x + 1 < width {
            visit(i + 1);
        }
        if i >= width {
            visit(i - width);
        }
        if i + width < len {
            visit(i + width);
        }
    }
    reached
}

/// A four-connected region.
#[derive(Clone, Debug)]
pub(super) struct Component {
    /// Its pixels, in the order they were reached.
    pub(super) pixels: Vec<usize>,
    /// Columns it spans.
    pub(super) xs: Range<usize>,
    /// Rows it spans.
    pub(super) ys: Range<usize>,
}

impl Component {
    pub(super) fn area(&self) -> usize {
        self.pixels.len()
    }

    /// Mean row, pixels.
    pub(super) fn center_y(&self, size: Size) -> f32 {
        let sum: usize = self.pixels.iter().map(|&i| i / size.width).sum();
        sum as f32 / self.area().max(1) as f32
    }
}

/// Connected regions of `inside`, in raster order of their first pixel. Flooding each is all that is needed:
/// `imageproc`'s union-find labels every pixel, background too, and the regions would have to be gathered after it.
pub(super) fn components(size: Size, inside: &[bool]) -> Vec<Component> {
    let mut seen = vec![false; size.len()];
    let mut found = Vec::new();
    for start in 0..size.len() {
        if !inside[start] || seen[start] {
            continue;
        }
        seen[start] = true;
        let (x, y) = size.xy(start);
        let mut part = Component { pixels: vec![start], xs: x..x + 1, ys: y..y + 1 };
        let mut next = 0;
        while let Some(&i) = part.pixels.get(next) {
            next += 1;
            let (x, y) = size.xy(i);
            part.xs = part.xs.start.min(x)..part.xs.end.max(x + 1);
            part.ys = part.ys.start.min(y)..part.ys.end.max(y + 1);
            for n in size.around(i) {
                if inside[n] && !seen[n] {
                    seen[n] = true;
                    part.pixels.push(n);
                }
            }
        }
        found.push(part);
    }
    found
}

/// Marks every pixel within `radius` (chessboard distance) of a marked one. Whole rows are joined at a time, shifted along
/// and then across: 16 pixels an instruction; counting down from the last marked pixel goes one by one.
pub(super) fn dilate(size: Size, marked: &[bool], radius: usize) -> Vec<bool> {
    let join = |out: &mut [bool], line: &[bool]| out.iter_mut().zip(line).for_each(|(slot, own)| *slot |= own);
    let mut rows = marked.to_vec();
    for (line, out) in marked.chunks_exact(size.width).zip(rows.chunks_exact_mut(size.width)) {
        for shift in 1..=radius.min(size.width - 1) {
            join(&mut out[shift..], line);
            join(out, &line[shift..]);
        }
    }
    let mut out = rows.clone();
    for shift in 1..=radius.min(size.height - 1) {
        let off = shift * size.width;
        join(&mut out[off..], &rows);
        join(&mut out, &rows[off..]);
    }
    out
}

/// Mean over the window of `radius` around each pixel, cut at the picture's edge; a pass along rows, one along columns.
pub(super) fn box_mean(size: Size, plane: &[f32], radius: usize) -> Vec<f32> {
    let (w, h) = (size.width, size.height);
    let mut rows = Vec::with_capacity(size.len());
    let mut prefix = vec![0.0f32; w + 1];
    for line in plane.chunks_exact(w) {
        let mut sum = 0.0;
        for (slot, v) in prefix[1..].iter_mut().zip(line) {
            sum += v;
            *slot = sum;
        }
        rows.extend((0..w).map(|x| {
            let (from, to) = (x.saturating_sub(radius), (x + radius + 1).min(w));
            (prefix[to] - prefix[from]) / (to - from) as f32
        }));
    }
    let mut out = Vec::with_capacity(size.len());
    let mut sums = vec![0.0f32; w];
    for line in rows.chunks_exact(w).take(radius) {
        sums.iter_mut().zip(line).for_each(|(s, v)| *s += v);
    }
    for y in 0..h {
        if y + radius < h {
            let line = &rows[(y + radius) * w..(y + radius + 1) * w];
            sums.iter_mut().zip(line).for_each(|(s, v)| *s += v);
        }
        if y > radius {
            let line = &rows[(y - radius - 1) * w..(y - radius) * w];
            sums.iter_mut().zip(line).for_each(|(s, v)| *s -= v);
        }
        let n = ((y + radius + 1).min(h) - y.saturating_sub(radius)) as f32;
        out.extend(sums.iter().map(|s| s / n));
    }
    out
}

/// Sums over any rectangle in constant time (Crow's summed-area table), for a plane and its square.
pub(super) struct Integral {
    width: usize,
    sum: Vec<[f64; 2]>,
    size: Size,
}

impl Integral {
    pub(super) fn new(size: Size, plane: &[f32]) -> Self {
        let width = size.width + 1;
        let mut sum = vec![[0.0; 2]; width * (size.height + 1)];
        for y in 0..size.height {
            let mut row = [0.0f64; 2];
            for x in 0..size.width {
                let v = f64::from(plane[y * size.width + x]);
                row[0] += v;
                row[1] += v * v;
                let above = sum[y * width + x + 1];
                sum[(y + 1) * width + x + 1] = [above[0] + row[0], above[1] + row[1]];
            }
        }
        Self { width, sum, size }
    }

    /// Mean and standard deviation of the window of `radius` around pixel `i`, cut at the picture's edge.
    pub(super) fn window(&self, i: usize, radius: usize) -> (f32, f32) {
        let (x, y) = self.size.xy(i);
        let (x0, x1) = (x.saturating_sub(radius), (x + radius + 1).min(self.size.width));
        let (y0, y1) = (y.saturating_sub(radius), (y + radius + 1).min(self.size.height));
        let n = ((x1 - x0) * (y1 - y0)) as f64;
        let at = |x: usize, y: usize, k: usize| self.sum[y * self.width + x][k];
        let total = |k| at(x1, y1, k) - at(x0, y1, k) - at(x1, y0, k) + at(x0, y0, k);
        let mean = total(0) / n;
        let var = (total(1) / n - mean * mean).max(0.0);
        (mean as f32, var.sqrt() as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 5, height: 4 };

    #[test]
    fn components_are_four_connected_and_know_their_box() {
        let mut inside = vec![false; SIZE.len()];
        for i in [0, 1, 5, 7, 13, 14] {
            inside[i] = true;
        }
        let parts = components(SIZE, &inside);
        let areas: Vec<_> = parts.iter().map(Component::area).collect();
        assert_eq!(areas, [3, 1, 2], "7 and 13 touch only at a corner of the grid");
        assert_eq!((parts[0].xs.clone(), parts[0].ys.clone()), (0..2, 0..2));
    }

    #[test]
    fn windows_agree_with_sums_by_hand() {
        let plane: Vec<f32> = (0..20u8).map(f32::from).collect();
        let (mean, sd) = Integral::new(SIZE, &plane).window(6, 1);
        // Rows 0 to 2, columns 0 to 2: 0 1 2 5 6 7 10 11 12.
        assert!((mean - 6.0).abs() < 1e-5);
        assert!((sd - (156.0f32 / 9.0).sqrt()).abs() < 1e-4, "{sd}");
    }

    #[test]
    fn box_means_are_those_of_the_window() {
        let plane: Vec<f32> = (0..20u16).map(|v| f32::from(v * v)).collect();
        let sums = Integral::new(SIZE, &plane);
        for radius in 0..6 {
            let means = box_mean(SIZE, &plane, radius);
            for (i, mean) in means.iter().enumerate() {
                assert!((mean - sums.window(i, radius).0).abs() < 1e-3, "{radius} {i}");
            }
        }
    }

    #[test]
    fn dilation_is_a_square_cut_at_the_edge() {
        let mut marked = vec![false; SIZE.len()];
        marked[0] = true;
        let grown = dilate(SIZE, &marked, 1);
        let on: Vec<_> = (0..SIZE.len()).filter(|&i| grown[i]).collect();
        assert_eq!(on, [0, 1, 5, 6]);
    }
}
