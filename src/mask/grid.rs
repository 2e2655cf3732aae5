//! Pixel grids: neighbors, connected components, box sums by integral images, dilation.
//! Everything is row-major (height, width) and takes its size from a [`Size`].
//!
//! What goes over whole planes is compiled for AVX2 too (`multiversion`), here and in the files beside; the same operations in
//! the same order, so the same bits. Loops, not `for_each` or `extend`: their closures are compiled for AVX2, the library's
//! functions between are not, and then nothing is inlined.

use multiversion::multiversion;
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

    /// The pixels of the outermost rows and columns; corners come twice.
    pub(super) fn border(self) -> impl Iterator<Item = usize> {
        let rows = (0..self.width).chain(self.len() - self.width..self.len());
        rows.chain((0..self.height).flat_map(move |y| [y * self.width, (y + 1) * self.width - 1]))
    }
}

/// A flood fill, four-connected, a span of a row at a time: a pixel is asked for once when it is let in, and its row is
/// read in order.
struct Flood {
    size: Size,
    /// What is reached already, or must never be.
    reached: Vec<bool>,
    /// Spans that were reached and not looked around from.
    open: Vec<Range<usize>>,
}

impl Flood {
    fn seed(&mut self, i: usize) {
        if !self.reached[i] {
            self.reached[i] = true;
            self.open.push(i..i + 1);
        }
    }

    /// Floods through what `admit` lets in, and hands over each span.
    fn run(&mut self, mut admit: impl FnMut(usize) -> bool, mut span: impl FnMut(Range<usize>)) {
        let width = self.size.width;
        while let Some(Range { mut start, mut end }) = self.open.pop() {
            let row = start / width * width;
            while start > row && self.take(start - 1, &mut admit) {
                start -= 1;
            }
            while end < row + width && self.take(end, &mut admit) {
                end += 1;
            }
            span(start..end);
            if row > 0 {
                self.look(start - width..end - width, &mut admit);
            }
            if row + width < self.reached.len() {
                self.look(start + width..end + width, &mut admit);
            }
        }
    }

    fn take(&mut self, i: usize, admit: &mut impl FnMut(usize) -> bool) -> bool {
        let new = !self.reached[i] && admit(i);
        self.reached[i] |= new;
        new
    }

    /// Opens the spans within a part of the next row.
    fn look(&mut self, part: Range<usize>, admit: &mut impl FnMut(usize) -> bool) {
        let mut i = part.start;
        while i < part.end {
            let start = i;
            while i < part.end && self.take(i, admit) {
                i += 1;
            }
            if i > start {
                self.open.push(start..i);
            }
            i += 1;
        }
    }
}

/// Grows from `seeds` through pixels that `admit`, four-connected; returns everything reached, seeds included.
pub(super) fn grow(size: Size, seeds: impl Iterator<Item = usize>, admit: impl FnMut(usize) -> bool) -> Vec<bool> {
    let mut flood = Flood { size, reached: vec![false; size.len()], open: Vec::new() };
    seeds.for_each(|seed| flood.seed(seed));
    flood.run(admit, |_| ());
    flood.reached
}

/// As [`grow`] from all pixels `within`: only their outline is looked at.
pub(super) fn grow_beyond(size: Size, within: &[bool], mut admit: impl FnMut(usize) -> bool) -> Vec<bool> {
    let mut flood = Flood { size, reached: within.to_vec(), open: Vec::new() };
    for (i, touched) in beside(size, within).into_iter().enumerate() {
        if touched && flood.take(i, &mut admit) {
            flood.open.push(i..i + 1);
        }
    }
    flood.run(admit, |_| ());
    flood.reached
}

/// Pixels with a marked one to the left, right, above or below.
#[multiversion(targets("x86_64+avx2"))]
fn beside(size: Size, marked: &[bool]) -> Vec<bool> {
    let width = size.width;
    let mut out = vec![false; size.len()];
    for (line, slots) in marked.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        join(&mut slots[1..], line);
        join(slots, &line[1..]);
    }
    join(&mut out[width..], marked);
    join(&mut out, &marked[width..]);
    out
}

/// Marks what `line` marks: 16 pixels an instruction.
#[inline(always)]
fn join(out: &mut [bool], line: &[bool]) {
    for (slot, own) in out.iter_mut().zip(line) {
        *slot |= own;
    }
}

/// A four-connected region.
#[derive(Clone, Debug)]
pub(super) struct Component {
    /// Its pixels, row by row in the order the rows were reached.
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

    /// Mean of a plane's values over its pixels.
    pub(super) fn mean(&self, plane: &[f32]) -> f32 {
        self.pixels.iter().map(|&i| plane[i]).sum::<f32>() / self.area().max(1) as f32
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
    let mut flood = Flood { size, reached: inside.iter().map(|own| !own).collect(), open: Vec::new() };
    let mut found = Vec::new();
    for start in 0..size.len() {
        if flood.reached[start] {
            continue;
        }
        let (x, y) = size.xy(start);
        let mut part = Component { pixels: Vec::new(), xs: x..x + 1, ys: y..y + 1 };
        flood.seed(start);
        flood.run(
            |_| true,
            |span| {
                let (x, y) = size.xy(span.start);
                part.xs = part.xs.start.min(x)..part.xs.end.max(x + span.len());
                part.ys = part.ys.start.min(y)..part.ys.end.max(y + 1);
                part.pixels.extend(span);
            },
        );
        found.push(part);
    }
    found
}

/// Marks every pixel within `radius` (chessboard distance) of a marked one. Whole rows are joined at a time, shifted along
/// and then across; counting down from the last marked pixel goes one by one.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn dilate(size: Size, marked: &[bool], radius: usize) -> Vec<bool> {
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

/// Mean of `N` values over the window of `radius` around each pixel, cut at the picture's edge. The `N` go side by side
/// through vector registers; only the means of the window's rows are kept, so that they stay in the cache.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn box_mean<const N: usize>(size: Size, plane: &[[f32; N]], radius: usize) -> Vec<[f32; N]> {
    let (w, h) = (size.width, size.height);
    let mut rows = vec![vec![[0.0; N]; w]; 2 * radius + 1];
    let mut sums = vec![[0.0; N]; w];
    let mut next = 0;
    let mut out = Vec::with_capacity(size.len());
    for y in 0..h {
        let (from, to) = (y.saturating_sub(radius), (y + radius + 1).min(h));
        while next < to {
            row_means(&plane[next * w..(next + 1) * w], radius, &mut rows[next % (2 * radius + 1)]);
            next += 1;
        }
        sums.fill([0.0; N]);
        for row in from..to {
            let line = &rows[row % (2 * radius + 1)];
            for (sum, v) in sums.iter_mut().zip(line) {
                add(sum, v);
            }
        }
        let high = 1.0 / (to - from) as f32;
        for sum in &sums {
            let mut mean = *sum;
            for v in &mut mean {
                *v *= high;
            }
            out.push(mean);
        }
    }
    out
}

/// Means over the window of `radius` along one row.
#[inline(always)]
fn row_means<const N: usize>(line: &[[f32; N]], radius: usize, out: &mut [[f32; N]]) {
    let last = line.len() - 1;
    out.copy_from_slice(line);
    for shift in 1..=radius.min(last) {
        for (sum, v) in out[shift..].iter_mut().zip(line) {
            add(sum, v);
        }
        for (sum, v) in out.iter_mut().zip(&line[shift..]) {
            add(sum, v);
        }
    }
    for (x, sum) in out.iter_mut().enumerate() {
        let wide = 1.0 / (1 + x.min(radius) + (last - x).min(radius)) as f32;
        for s in sum {
            *s *= wide;
        }
    }
}

#[inline(always)]
fn add<const N: usize>(sum: &mut [f32; N], v: &[f32; N]) {
    for (s, v) in sum.iter_mut().zip(v) {
        *s += v;
    }
}

/// Sums over any rectangle in constant time (Crow's summed-area table), for a plane and its square.
pub(super) struct Integral {
    width: usize,
    sum: Vec<[f64; 2]>,
    size: Size,
}

impl Integral {
    pub(super) fn new(size: Size, plane: &[f32]) -> Self {
        Self { width: size.width + 1, sum: summed(size, plane), size }
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

/// Sums of a plane and of its squares over all that is above and to the left, a row and a column more than the picture has.
#[multiversion(targets("x86_64+avx2"))]
fn summed(size: Size, plane: &[f32]) -> Vec<[f64; 2]> {
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
    sum
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
    fn floods_take_what_is_joined_and_no_more() {
        // A spiral, and a part that touches it only at a corner.
        let picture = ["#######.", ".......#", "######.#", "#....#.#", "#.####.#", "#......#", "########"];
        let size = Size { width: 8, height: 7 };
        let open: Vec<bool> = picture.concat().bytes().map(|b| b == b'#').collect();
        let mut one_by_one = vec![false; size.len()];
        one_by_one[0] = true;
        for _ in 0..size.len() {
            for i in 0..size.len() {
                one_by_one[i] |= open[i] && size.around(i).any(|n| one_by_one[n]);
            }
        }
        assert_eq!(grow(size, [0].into_iter(), |i| open[i]), one_by_one);
        let rest: Vec<bool> = open.iter().zip(&one_by_one).map(|(open, own)| *open && !own).collect();
        let last = open.iter().rposition(|o| *o).unwrap_or(0);
        assert_eq!(grow(size, [last].into_iter(), |i| open[i]), rest);
        let seed: Vec<bool> = (0..size.len()).map(|i| i == last || i == 8).collect();
        let mut expected = rest.clone();
        expected[8] = true;
        // What is grown from is kept, let in or not, and joins what is beside it.
        expected.iter_mut().zip(&one_by_one).for_each(|(slot, own)| *slot |= own);
        assert_eq!(grow_beyond(size, &seed, |i| open[i]), expected);
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
            let pairs: Vec<[f32; 2]> = plane.iter().map(|v| [*v, -v]).collect();
            for (i, [mean, negated]) in box_mean(SIZE, &pairs, radius).into_iter().enumerate() {
                assert!((mean - sums.window(i, radius).0).abs() < 1e-3, "{radius} {i}");
                assert_eq!(mean, -negated);
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
