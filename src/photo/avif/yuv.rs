//! Planes of a decoded AV1 picture to 8-bit RGB or grey, by the equations of ITU-T H.273.
//! Chroma is interpolated between its centers, as `libavif` does by default: nearest samples leave a fringe of half a
//! chroma pixel around a garment on white.

use super::super::probe::avif::Cicp;
use super::super::{Format, PhotoError};
use re_rav1d::dav1d::pixel::{ColorPrimaries, MatrixCoefficients, TransferCharacteristic, YUVRange};
use re_rav1d::dav1d::{Picture, PixelLayout, PlanarImageComponent as Component, Plane};

/// How samples become color.
enum Matrix {
    /// Green, blue, red as they are.
    Identity,
    /// Weights of red and blue in luma.
    Luma { red: f32, blue: f32 },
}

/// A picture's planes and what they mean.
pub(super) struct Planes {
    width: usize,
    height: usize,
    luma: Samples,
    /// Cb and Cr, and how far each is subsampled across and down (0 or 1, powers of two).
    chroma: Option<([Samples; 2], usize, usize)>,
    matrix: Matrix,
    cicp: Cicp,
    depth: u32,
}

/// One plane.
struct Samples {
    plane: Plane,
    /// Bytes a row.
    stride: usize,
    wide: bool,
}

impl Samples {
    fn new(picture: &Picture, component: Component) -> Self {
        let (plane, stride) = (picture.plane(component), picture.stride(component) as usize);
        Self { plane, stride, wide: picture.bit_depth() > 8 }
    }

    /// Row `y`, of at least `out.len()` samples; what is not there is 0.
    fn row(&self, y: usize, out: &mut [f32]) {
        let row = self.plane.as_ref().get(y * self.stride..).unwrap_or_default();
        if self.wide {
            for (out, &sample) in out.iter_mut().zip(row.as_chunks::<2>().0) {
                *out = f32::from(u16::from_ne_bytes(sample));
            }
        } else {
            for (out, &sample) in out.iter_mut().zip(row) {
                *out = f32::from(sample);
            }
        }
    }
}

impl Planes {
    /// The planes of `picture`; the container's `told` code points win over the stream's (AVIF 1.1, 2.2.1).
    ///
    /// # Errors
    /// [`PhotoError::UnsupportedFeature`] for a matrix that no photo has.
    pub(super) fn new(picture: &Picture, told: Option<Cicp>) -> Result<Self, PhotoError> {
        let cicp = told.unwrap_or_else(|| stream(picture));
        let subsampling = match picture.pixel_layout() {
            PixelLayout::I400 => None,
            PixelLayout::I420 => Some((1, 1)),
            PixelLayout::I422 => Some((1, 0)),
            PixelLayout::I444 => Some((0, 0)),
        };
        let chroma = subsampling.map(|(across, down)| {
            ([Component::U, Component::V].map(|component| Samples::new(picture, component)), across, down)
        });
        Ok(Self {
            width: picture.width() as usize,
            height: picture.height() as usize,
            luma: Samples::new(picture, Component::Y),
            matrix: matrix(cicp.matrix, subsampling)?,
            chroma,
            cicp,
            depth: picture.bits_per_component().map_or(8, |bits| bits.0 as u32),
        })
    }

    pub(super) fn cicp(&self) -> Cicp {
        self.cicp
    }

    /// (H, W) of the first plane, 0 to 255.
    pub(super) fn luma(&self) -> Vec<u8> {
        let (offset, scale) = self.range(false);
        let mut grey = vec![0; self.width * self.height];
        let mut row = vec![0.0; self.width];
        for (y, out) in grey.chunks_exact_mut(self.width.max(1)).enumerate() {
            self.luma.row(y, &mut row);
            for (out, sample) in out.iter_mut().zip(&row) {
                *out = byte((sample - offset) * scale);
            }
        }
        grey
    }

    /// (H, W, 3), sRGB or whatever the profile says, 0 to 255.
    pub(super) fn rgb(&self) -> Vec<u8> {
        let Some((chroma, across, down)) = &self.chroma else {
            return self.luma().into_iter().flat_map(|grey| [grey; 3]).collect();
        };
        let identity = matches!(self.matrix, Matrix::Identity);
        let (luma_range, chroma_range) = (self.range(false), self.range(!identity));
        let mut rgb = vec![0; self.width * self.height * 3];
        let mut luma = vec![0.0; self.width];
        let mut upsampled =
            chroma.each_ref().map(|plane| Upsampled::new(plane, self.width, self.height, *across, *down));
        for (y, out) in rgb.chunks_exact_mut((3 * self.width).max(1)).enumerate() {
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
        let unit = (1_u32 << (self.depth - 8)) as f32;
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

/// The code points of the stream itself, for files whose container has none; only those that are told apart here.
fn stream(picture: &Picture) -> Cicp {
    Cicp {
        primaries: match picture.color_primaries() {
            ColorPrimaries::BT2020 => 9,
            ColorPrimaries::P3Display => 12,
            _ => 1,
        },
        transfer: match picture.transfer_characteristic() {
            TransferCharacteristic::PerceptualQuantizer => 16,
            TransferCharacteristic::HybridLogGamma => 18,
            _ => 13,
        },
        matrix: match picture.matrix_coefficients() {
            MatrixCoefficients::Identity => 0,
            MatrixCoefficients::BT709 => 1,
            MatrixCoefficients::BT470M => 4,
            MatrixCoefficients::ST240M => 7,
            MatrixCoefficients::BT2020NonConstantLuminance => 9,
            MatrixCoefficients::Unspecified | MatrixCoefficients::BT470BG | MatrixCoefficients::ST170M => 6,
            _ => 255,
        },
        full_range: matches!(picture.color_range(), YUVRange::Full),
    }
}

/// A chroma plane at the size of luma, a row at a time.
struct Upsampled<'a> {
    plane: &'a Samples,
    /// Chroma samples across and down.
    size: (usize, usize),
    across: usize,
    down: usize,
    rows: [Vec<f32>; 2],
    out: Vec<f32>,
}

impl<'a> Upsampled<'a> {
    fn new(plane: &'a Samples, width: usize, height: usize, across: usize, down: usize) -> Self {
        let size = ((width + across) >> across, (height + down) >> down);
        Self { plane, size, across, down, rows: [vec![0.0; size.0], vec![0.0; size.0]], out: vec![0.0; width] }
    }

    /// Row `y` of luma: three parts of the nearer chroma sample and one of the next, in each direction.
    fn row(&mut self, y: usize) -> &[f32] {
        let [near, far] = &mut self.rows;
        self.plane.row(y >> self.down, near);
        if self.down == 1 {
            self.plane.row(neighbor(y, self.size.1), far);
            near.iter_mut().zip(far.iter()).for_each(|(near, far)| *near = 0.75 * *near + 0.25 * far);
        }
        if self.across == 0 {
            return near;
        }
        for (x, out) in self.out.iter_mut().enumerate() {
            *out = 0.75 * near[x >> 1] + 0.25 * near[neighbor(x, self.size.0)];
        }
        &self.out
    }
}

/// The chroma sample on the other side of position `at` of luma, within `count`.
fn neighbor(at: usize, count: usize) -> usize {
    let own = at >> 1;
    if at.is_multiple_of(2) { own.saturating_sub(1) } else { (own + 1).min(count - 1) }
}
