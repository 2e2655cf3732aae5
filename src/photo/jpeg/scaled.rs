//! A smaller picture straight from a JPEG's frequencies ("scaled decoding", "shrink on load"): at a half, a quarter or an
//! eighth of its size, for a fraction of the work and the memory.
//!
//! zune-jpeg cannot; jpeg-decoder can, in nine tenths of the time that zune-jpeg takes for all pixels (`benches/decode.rs`: of
//! progressive photos of 1 to 4 megapixels most of it goes into reading the codes); libjpeg-turbo can, in C, in seven tenths;
//! this takes a third. It reads what photos of shops are and leaves the rest to zune-jpeg: whatever is rare, and all that
//! looks broken, so that one decoder tells what is wrong with a file.

use super::bits::Segments;
use super::huffman::Huffman;
use super::scan::{self, Band, Blocks, COMPONENTS, Kept, Scanned};
use super::{FORMAT, idct, ycc_to_rgb};
use crate::photo::probe::Cursor;
use crate::photo::probe::jpeg::{next_marker, segment};
use multiversion::multiversion;

/// Scans of a file; encoders write about ten. Each is a walk over all blocks, however few its bytes are.
const SCANS: usize = 64;
/// Huffman tables of a file; encoders write at most four a scan. Each is a thousand steps, however few its bytes are.
const TABLES: usize = 4 * SCANS;

/// How many times as long as what it is shrunk to the shorter side has to be still: from 2 on the resize that follows gives
/// nearly what it gives of all pixels (Pillow has found so too: `reducing_gap`).
const GAP: u64 = 2;

/// How many eighths of its size a picture is decoded at that is shrunk to sides of at most `side` pixels: 1, 2, 4 or 8.
pub(super) fn eighths(short_side: u32, side: u32) -> usize {
    let is_enough = |eighths: &u64| u64::from(short_side) * eighths >= 8 * GAP * u64::from(side);
    [1, 2, 4].into_iter().find(is_enough).unwrap_or(8) as usize
}

/// A smaller picture.
pub(super) struct Scaled {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Row-major (H, W, 3) RGB, or (H, W) if `is_gray`.
    pub(super) samples: Vec<u8>,
    pub(super) is_gray: bool,
}

/// The picture of `width` x `height` pixels at `eighths` (1, 2 or 4) of 8 of its size, sides rounded up. `None` for a file that
/// a whole decoder has to see: of another size, 12 bits, four components, other than whole or halved chroma, arithmetic
/// codes, or broken.
pub(super) fn decode(bytes: &[u8], (width, height): (u32, u32), eighths: usize) -> Option<Scaled> {
    let mut file = File::new((usize::try_from(width).ok()?, usize::try_from(height).ok()?), eighths);
    file.read(bytes)?;
    file.picture()
}

/// What of a file is read so far.
struct File {
    /// What was checked against the limits: width and height.
    size: (usize, usize),
    eighths: usize,
    frame: Option<Frame>,
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
    scans: usize,
    tables: usize,
}

struct Frame {
    is_progressive: bool,
    /// Units across and down: what the blocks of all components together show.
    units: (usize, usize),
    components: Vec<Component>,
    blocks: Vec<Blocks>,
}

struct Component {
    id: u8,
    quantization: usize,
    /// Samples across and down that a block becomes.
    samples: (usize, usize),
    kept: Kept,
    /// The lowest bit known of each frequency, by place in zigzag order.
    known: [Option<u32>; 64],
}

impl File {
    fn new(size: (usize, usize), eighths: usize) -> Self {
        let (quantization, dc, ac) = Default::default();
        Self { size, eighths, frame: None, quantization, dc, ac, restart: 0, scans: 0, tables: 0 }
    }

    /// Goes over the markers (T.81, annex B).
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(FORMAT, bytes, 2);
        let mut segments = Segments::default();
        loop {
            let marker = next_marker(&mut cursor).ok()?;
            match marker {
                // End of image.
                0xd9 => return Some(()),
                // Without a segment: TEM, RST, SOI.
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let segment = segment(&mut cursor).ok()?;
            match marker {
                0xc0..=0xc2 => self.frame(segment, marker == 0xc2)?,
                0xc4 => self.huffman(segment)?,
                0xdb => self.quantization(segment)?,
                0xdd => self.restart = usize::from(u16::from_be_bytes(*segment.first_chunk()?)),
                0xda => {
                    let taken = segments.fill(cursor.rest(), self.segments())?;
                    self.scan(segment, &segments)?;
                    cursor.take(taken, "a scan").ok()?;
                }
                // Other kinds of frames, arithmetic codes, and a height that comes late.
                0xc3..=0xcf | 0xdc | 0xde | 0xdf => return None,
                // Between scans there is nothing else to be expected.
                _ if self.scans > 0 => return None,
                _ => {}
            }
        }
    }

    /// Segments that a scan has at most.
    fn segments(&self) -> usize {
        let blocks = self.frame.iter().flat_map(|frame| &frame.blocks).map(|blocks| blocks.nonzero.len()).max();
        blocks.unwrap_or(0).checked_div(self.restart).unwrap_or(0) + 1
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Option<()> {
        // Between scans it would hold for some of them only.
        if self.scans > 0 {
            return None;
        }
        while let Some((&head, rest)) = segment.split_first() {
            let mut table = [0; 64];
            if head >> 4 > 1 {
                return None;
            }
            if head >> 4 == 0 {
                let (values, rest) = rest.split_first_chunk::<64>()?;
                table = values.map(u16::from);
                segment = rest;
            } else {
                let (values, rest) = rest.split_first_chunk::<128>()?;
                table.iter_mut().zip(values.as_chunks().0).for_each(|(to, &from)| *to = u16::from_be_bytes(from));
                segment = rest;
            }
            *self.quantization.get_mut(usize::from(head & 15))? = Some(table);
        }
        Some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = segment.split_first() {
            let (counts, symbols) = rest.split_first_chunk()?;
            let table = Huffman::new(counts, symbols)?;
            segment = symbols.get(counts.iter().map(|&count| usize::from(count)).sum()..)?;
            self.tables += 1;
            // Of a mean there are sizes only (T.81, table F.1, of lossless files too).
            let is_sound = head >> 4 == 1 || head >> 4 == 0 && table.symbols().iter().all(|symbol| *symbol < 16);
            if !is_sound || self.tables > TABLES {
                return None;
            }
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(head & 15))? = Some(table);
        }
        Some(())
    }

    fn frame(&mut self, segment: &[u8], is_progressive: bool) -> Option<()> {
        let &[8, h1, h0, w1, w0, count @ (1 | 3), ref rest @ ..] = segment else { return None };
        let (declared, []) = rest.as_chunks::<3>() else { return None };
        let (width, height) = (usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0])));
        let is_expected = (width, height) == self.size && width > 0 && height > 0;
        if self.frame.is_some() || !is_expected || declared.len() != usize::from(count) {
            return None;
        }
        // Of one component alone the factors mean nothing (A.2.2).
        let factors =
            |factors: u8| if count == 1 { (1, 1) } else { (usize::from(factors >> 4), usize::from(factors & 15)) };
        let most_h = declared.iter().map(|&[_, f, _]| factors(f).0).max()?;
        let most_v = declared.iter().map(|&[_, f, _]| factors(f).1).max()?;
        let units = (width.div_ceil(8 * most_h.max(1)), height.div_ceil(8 * most_v.max(1)));
        let (mut components, mut all_blocks) = (Vec::new(), Vec::new());
        for &[id, f, quantization] in declared {
            let (h, v) = factors(f);
            // A component is whole or halved; a third, or two of three, would have to be interpolated.
            if most_h > 2 || most_v > 2 || h == 0 || v == 0 {
                return None;
            }
            let samples = (self.eighths * most_h / h, self.eighths * most_v / v);
            let (size, kept) = (samples.0 * samples.1, Kept::new(samples.0, samples.1));
            let (across, down) = (units.0 * h, units.1 * v);
            components.push(Component {
                id,
                quantization: usize::from(quantization),
                samples,
                kept,
                known: [None; 64],
            });
            all_blocks.push(Blocks {
                across,
                down,
                own_across: (width * h).div_ceil(most_h).div_ceil(8),
                own_down: (height * v).div_ceil(most_v).div_ceil(8),
                unit: (h, v),
                size,
                frequencies: vec![0; across * down * size],
                nonzero: vec![0; across * down],
            });
        }
        self.frame = Some(Frame { is_progressive, units, components, blocks: all_blocks });
        Some(())
    }

    fn scan(&mut self, header: &[u8], segments: &Segments) -> Option<()> {
        self.scans += 1;
        let frame = self.frame.as_mut()?;
        let (&count, rest) = header.split_first()?;
        let (chosen, &[first, last, bits]) = rest.split_at_checked(2 * usize::from(count))? else { return None };
        let band = match frame.is_progressive {
            true => {
                Band { first: first.into(), last: last.into(), high: u32::from(bits >> 4), low: u32::from(bits & 15) }
            }
            false => Band::WHOLE,
        };
        let is_sound = if frame.is_progressive { is_band(band, count) } else { (first, last, bits) == (0, 63, 0) };
        if self.scans > SCANS || !is_sound {
            return None;
        }
        let mut known = Vec::with_capacity(COMPONENTS);
        for &[id, tables] in chosen.as_chunks::<2>().0 {
            let component = frame.components.iter().position(|component| component.id == id)?;
            known.push((component, usize::from(tables >> 4), usize::from(tables & 15)));
            // Each bit is told once, from the highest on.
            let before = (band.high > 0).then_some(band.high);
            for bit in frame.components.get_mut(component)?.known.get_mut(band.first..=band.last)? {
                if *bit != before {
                    return None;
                }
                *bit = Some(band.low);
            }
        }
        let mut scanned = Vec::with_capacity(COMPONENTS);
        for (component, dc, ac) in known {
            let kept = &frame.components.get(component)?.kept;
            scanned.push(Scanned { component, dc: self.dc.get(dc)?.as_ref(), ac: self.ac.get(ac)?.as_ref(), kept });
        }
        let readers = segments.readers();
        scan::read(&mut frame.blocks, &scanned, (frame.is_progressive, band), frame.units, self.restart, readers)
    }

    fn picture(self) -> Option<Scaled> {
        let frame = self.frame?;
        let scaled = |side: usize| (side * self.eighths).div_ceil(8);
        let (width, height) = (scaled(self.size.0), scaled(self.size.1));
        let mut planes = Vec::with_capacity(COMPONENTS);
        for (component, blocks) in frame.components.iter().zip(&frame.blocks) {
            // Without a mean there was no scan of it; any other frequency may be left out.
            component.known[0]?;
            let steps = component.kept.arranged(self.quantization.get(component.quantization)?.as_ref()?, blocks.size);
            planes.push(plane(blocks, component.samples, &steps)?);
        }
        let samples = match &planes[..] {
            [gray] => gray.rows().take(height).flat_map(|row| row.iter().take(width)).copied().collect(),
            [y, cb, cr] => rgb([y, cb, cr], (width, height)),
            _ => return None,
        };
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        Some(Scaled { width, height, samples, is_gray: planes.len() == 1 })
    }
}

/// Whether a progressive scan may tell `band` of `count` components (T.81, G.1.1.1): means apart from all else, of all else one
/// component at a time, and after the first scan one bit.
fn is_band(Band { first, last, high, low }: Band, count: u8) -> bool {
    let is_of_one_kind = if first == 0 { last == 0 } else { count == 1 };
    is_of_one_kind && first <= last && last < 64 && low <= 13 && (high == 0 || high == low + 1)
}

/// Samples of a component.
struct Plane {
    samples: Vec<u8>,
    stride: usize,
}

impl Plane {
    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.samples.chunks_exact(self.stride)
    }
}

fn plane(blocks: &Blocks, samples: (usize, usize), steps: &[f32]) -> Option<Plane> {
    Some(match samples {
        (1, 1) => transformed::<1, 1>(blocks, steps),
        (1, 2) => transformed::<1, 2>(blocks, steps),
        (2, 1) => transformed::<2, 1>(blocks, steps),
        (2, 2) => transformed::<2, 2>(blocks, steps),
        (2, 4) => transformed::<2, 4>(blocks, steps),
        (4, 2) => transformed::<4, 2>(blocks, steps),
        (4, 4) => transformed::<4, 4>(blocks, steps),
        (4, 8) => transformed::<4, 8>(blocks, steps),
        (8, 4) => transformed::<8, 4>(blocks, steps),
        (8, 8) => transformed::<8, 8>(blocks, steps),
        _ => return None,
    })
}

#[multiversion(targets("x86_64+avx2"))]
fn transformed<const W: usize, const H: usize>(blocks: &Blocks, steps: &[f32]) -> Plane {
    let stride = blocks.across * W;
    let mut samples = vec![0; stride * blocks.down * H];
    let rows = blocks.frequencies.chunks_exact(blocks.across * W * H);
    for (out, row) in samples.chunks_exact_mut(stride * H).zip(rows) {
        for (x, frequencies) in row.chunks_exact(W * H).enumerate() {
            idct::block::<W, H>(frequencies, steps, out.get_mut(x * W..).unwrap_or_default(), stride);
        }
    }
    Plane { samples, stride }
}

#[multiversion(targets("x86_64+avx2"))]
fn rgb([y, cb, cr]: [&Plane; 3], (width, height): (usize, usize)) -> Vec<u8> {
    let mut rgb = vec![[0; 3]; width * height];
    for (((out, y), cb), cr) in rgb.chunks_exact_mut(width).zip(y.rows()).zip(cb.rows()).zip(cr.rows()) {
        for (((out, &y), &cb), &cr) in out.iter_mut().zip(y).zip(cb).zip(cr) {
            *out = ycc_to_rgb(y, cb, cr);
        }
    }
    rgb.into_flattened()
}
