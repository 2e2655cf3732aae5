//! Planes of a decoded AV1 picture to 8-bit RGB or grey, by the equations of ITU-T H.273.
//! Chroma is interpolated between its centers, as `libavif` does by default: nearest samples leave a fringe of half a
//! chroma pixel around a garment on white.

use super::coded::{Cicp, Coded};
use crate::photo::raster::Space;
use crate::photo::{Format, PhotoError};

/// How samples become color.
enum Matrix {
    /// Green, blue, red as they are.
    Identity,
    /// Weights of red and blue in luma.
    Luma { red: f32, blue: f32 },
}

/// A picture's planes and what they mean.
pub(super) struct Planes<'a> {
    coded: &'a Coded,
    luma: Samples<'a>,
    chroma: Option<Chroma<'a>>,
    matrix: Matrix,
    cicp: Cicp,
}

/// Cb and Cr, and how far each is subsampled across and down (0 or 1, powers of two).
type Chroma<'a> = ([Samples<'a>; 2], usize, usize);

/// One plane.
#[derive(Clone, Copy)]
struct Samples<'a> {
    plane: &'a [u8],
    /// Samples across and down, at least 1.
    size: (usize, usize),
    wide: bool,
}

impl Samples<'_> {
    /// Row `y`, of as many samples as `out` has.
    fn row(&self, y: usize, out: &mut [f32]) {
        if self.wide {
            let row = self.plane.as_chunks::<2>().0.get(y * self.size.0..).unwrap_or_default();
            out.iter_mut().zip(row).for_each(|(out, &sample)| *out = f32::from(u16::from_ne_bytes(sample)));
        } else {
            let row = self.plane.get(y * self.size.0..).unwrap_or_default();
            out.iter_mut().zip(row).for_each(|(out, &sample)| *out = f32::from(sample));
        }
    }
}

impl<'a> Planes<'a> {
    /// The planes of `coded`; the container's `told` code points win over the stream's (AVIF 1.1, 2.2.1).
    ///
    /// # Errors
    /// [`PhotoError::UnsupportedFeature`] for a matrix that no photo has.
    pub(super) fn new(coded: &'a Coded, told: Option<Cicp>) -> Result<Self, PhotoError> {
        let cicp = told.unwrap_or(coded.cicp);
        let sizes = Coded::sizes(coded.width, coded.height, coded.layout);
        let mut samples = coded.planes.iter().zip(sizes);
        let mut next = || {
            let (plane, size) = samples.next()?;
            Some(Samples { plane, size, wide: coded.depth > 8 })
        };
        let luma = next().unwrap_or(Samples { plane: &[], size: (1, 1), wide: false });
        let chroma = coded.layout.subsampling().and_then(|(across, down)| Some(([next()?, next()?], across, down)));
        Ok(Self { coded, luma, chroma, matrix: matrix(cicp.matrix, coded.layout.subsampling())?, cicp })
    }

    pub(super) fn cicp(&self) -> Cicp {
        self.cicp
    }

    /// (H, W) of the first plane, 0 to 255.
    pub(super) fn luma(&self) -> Vec<u8> {
        let (offset, scale) = self.range(false);
        let (width, height) = self.luma.size;
        let mut grey = vec![0; width * height];
        let mut row = vec![0.0; width];
        for (y, out) in grey.chunks_exact_mut(width).enumerate() {
            self.luma.row(y, &mut row);
            for (out, sample) in out.iter_mut().zip(&row) {
                *out = byte((sample - offset) * scale);
            }
        }
        grey
    }

    /// (H, W, samples): gray where there is no chroma, else sRGB or whatever the profile says, 0 to 255.
    pub(super) fn color(&self) -> (Space, Vec<u8>) {
        match &self.chroma {
            None => (Space::Gray, self.luma()),
            Some(chroma) => (Space::Rgb, self.rgb(chroma)),
        }
    }

    fn rgb(&self, (chroma, across, down): &Chroma<'a>) -> Vec<u8> {
        let identity = matches!(self.matrix, Matrix::Identity);
        let (luma_range, chroma_range) = (self.range(false), self.range(!identity));
        let (width, height) = self.luma.size;
        let mut rgb = vec![0; width * height * 3];
        let mut luma = vec![0.0; width];
        let mut upsampled = chroma.map(|plane| Upsampled::new(plane, width, *across, *down));
        for (y, out) in rgb.chunks_exact_mut(3 * width).enumerate() {
            self.luma.row(y, &mut luma);
            let [cb, cr] = &mut upsampled;
            let (cb, cr) = (cb.row(y), cr.row(y));
            let samples = luma.iter().zip(cb.iter().zip(cr));
            for (pixel, (y, (cb, cr))) in out.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
                let y = (y - luma_range.0) * luma_range.1;
                let [cb, cr] = [cb, cr].map(|sample| (sample - chroma_range.0) * chroma_range.1);
                *pixel = match self.matrix {
                    Matrix::Identity => [cr, y, cb],
                    Matrix::Luma { red, blue } => {
                        let (r, b) = (y + 2.0 * (1.0 - red) * cr, y + 2.0 * (1.0 - blue) * cb);
                        [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
                    }
                }
                .map(byte);
            }
        }
        rgb
    }

    /// Offset and scale that bring a plane to 0..1, chroma to -0.5..0.5 (H.273, equations 20 to 31).
    fn range(&self, chroma: bool) -> (f32, f32) {
        let unit = f32::from(1_u16 << (self.coded.depth - 8));
        match (self.cicp.full_range, chroma) {
            (true, false) => (0.0, 1.0 / (256.0 * unit - 1.0)),
            (true, true) => (128.0 * unit, 1.0 / (256.0 * unit - 1.0)),
            (false, false) => (16.0 * unit, 1.0 / (219.0 * unit)),
            (false, true) => (128.0 * unit, 1.0 / (224.0 * unit)),
        }
    }
}

fn byte(value: f32) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}

/// Weights by H.273, table 4. Unspecified is BT.601, as browsers and `libavif` take it.
fn matrix(code: u16, subsampling: Option<(usize, usize)>) -> Result<Matrix, PhotoError> {
    let luma = |red, blue| Ok(Matrix::Luma { red, blue });
    match code {
        0 if matches!(subsampling, Some((0, 0)) | None) => Ok(Matrix::Identity),
        1 => luma(0.2126, 0.0722),
        2 | 5 | 6 => luma(0.299, 0.114),
        4 => luma(0.30, 0.11),
        7 => luma(0.212, 0.087),
        9 => luma(0.2627, 0.0593),
        _ => {
            let detail = format!("matrix coefficients {code} of ITU-T H.273");
            Err(PhotoError::UnsupportedFeature { format: Format::Avif, detail })
        }
    }
}

/// A chroma plane at the size of luma, a row at a time.
struct Upsampled<'a> {
    plane: Samples<'a>,
    across: usize,
    down: usize,
    rows: [Vec<f32>; 2],
    out: Vec<f32>,
}

impl<'a> Upsampled<'a> {
    fn new(plane: Samples<'a>, width: usize, across: usize, down: usize) -> Self {
        let row = vec![0.0; plane.size.0];
        Self { plane, across, down, rows: [row.clone(), row], out: vec![0.0; width] }
    }

    /// Row `y` of luma: three parts of the nearer chroma sample and one of the next, in each direction.
    fn row(&mut self, y: usize) -> &[f32] {
        let [near, far] = &mut self.rows;
        self.plane.row(y >> self.down, near);
        if self.down == 1 {
            self.plane.row(neighbor(y, self.plane.size.1), far);
            near.iter_mut().zip(far.iter()).for_each(|(near, far)| *near = 0.75 * *near + 0.25 * far);
        }
        if self.across == 0 {
            return near;
        }
        for (x, out) in self.out.iter_mut().enumerate() {
            *out = 0.75 * near[x >> 1] + 0.25 * near[neighbor(x, self.plane.size.0)];
        }
        &self.out
    }
}

/// The chroma sample on the other side of position `at` of luma, within `count`.
fn neighbor(at: usize, count: usize) -> usize {
    let own = at >> 1;
    if at.is_multiple_of(2) { own.saturating_sub(1) } else { (own + 1).min(count - 1) }
}
