//! A picture as AV1 codes it: planes of samples and what they mean; and its form on the pipe from the process that
//! decoded it.

use std::io::{self, Read, Write};

/// How chroma is stored beside luma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Luma alone.
    Mono,
    /// Half of the samples across and down.
    Half,
    /// Half of the samples across.
    HalfAcross,
    /// As many as luma.
    Full,
}

/// Code points of ITU-T H.273.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::photo) struct Cicp {
    pub(in crate::photo) primaries: u16,
    pub(in crate::photo) transfer: u16,
    pub(in crate::photo) matrix: u16,
    pub(in crate::photo) full_range: bool,
}

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coded {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) layout: Layout,
    /// Bits a sample: 8, 10 or 12; above 8 a sample takes two bytes, in this machine's order.
    pub(super) depth: u8,
    /// What the stream says of its colors.
    pub(super) cicp: Cicp,
    /// Y, then Cb and Cr where there are any; each row-major (H, W) without padding.
    pub(super) planes: Vec<Vec<u8>>,
}

/// First of what the decoding process writes.
const MAGIC: [u8; 4] = *b"AV1\n";

impl Layout {
    const ALL: [Self; 4] = [Self::Mono, Self::Half, Self::HalfAcross, Self::Full];

    /// Powers of two by which chroma is smaller, across and down; `None` without chroma.
    pub(super) fn subsampling(self) -> Option<(usize, usize)> {
        match self {
            Self::Mono => None,
            Self::Half => Some((1, 1)),
            Self::HalfAcross => Some((1, 0)),
            Self::Full => Some((0, 0)),
        }
    }
}

impl Coded {
    /// Samples across and down of each plane.
    pub(super) fn sizes(width: u32, height: u32, layout: Layout) -> Vec<(usize, usize)> {
        let (w, h) = (width as usize, height as usize);
        let mut sizes = vec![(w, h)];
        if let Some((across, down)) = layout.subsampling() {
            sizes.extend([((w + across) >> across, (h + down) >> down); 2]);
        }
        sizes
    }

    /// Bytes of a sample.
    pub(super) fn sample_bytes(depth: u8) -> usize {
        if depth > 8 { 2 } else { 1 }
    }

    pub(super) fn write(&self, mut out: impl Write) -> io::Result<()> {
        let layout = Layout::ALL.iter().position(|&l| l == self.layout).unwrap_or_default() as u8;
        let Cicp { primaries, transfer, matrix, full_range } = self.cicp;
        out.write_all(&MAGIC)?;
        out.write_all(&self.width.to_le_bytes())?;
        out.write_all(&self.height.to_le_bytes())?;
        out.write_all(&[layout, self.depth, u8::from(full_range)])?;
        for code in [primaries, transfer, matrix] {
            out.write_all(&code.to_le_bytes())?;
        }
        self.planes.iter().try_for_each(|plane| out.write_all(plane))?;
        out.flush()
    }

    /// Reads what [`Coded::write`] wrote, of the size that is `expected` and no other: the writer may have been broken
    /// by what it decoded.
    pub(super) fn read(mut from: impl Read, expected: (u32, u32)) -> io::Result<Result<Self, (u32, u32)>> {
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let mut head = [0; 21];
        from.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let code = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let (width, height, depth) = (number(4), number(8), head[13]);
        let layout = *Layout::ALL.get(usize::from(head[12])).ok_or_else(broken)?;
        if head[..4] != MAGIC || ![8, 10, 12].contains(&depth) {
            return Err(broken());
        }
        if (width, height) != expected {
            return Ok(Err((width, height)));
        }
        let cicp = Cicp { primaries: code(15), transfer: code(17), matrix: code(19), full_range: head[14] != 0 };
        let mut planes = Vec::new();
        for (across, down) in Self::sizes(width, height, layout) {
            let mut plane = vec![0; across * down * Self::sample_bytes(depth)];
            from.read_exact(&mut plane)?;
            planes.push(plane);
        }
        Ok(Ok(Self { width, height, layout, depth, cicp, planes }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_picture_comes_through_the_pipe_and_a_broken_one_does_not() {
        let cicp = Cicp { primaries: 1, transfer: 13, matrix: 600, full_range: true };
        let planes =
            Coded::sizes(3, 5, Layout::Half).into_iter().map(|(w, h)| (0..2 * w * h).map(|i| i as u8).collect());
        let coded = Coded { width: 3, height: 5, layout: Layout::Half, depth: 10, cicp, planes: planes.collect() };
        let mut bytes = Vec::new();
        coded.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 21 + 2 * (15 + 2 * 6));
        assert_eq!(Coded::read(&*bytes, (3, 5)).unwrap().unwrap(), coded);
        assert_eq!(Coded::read(&*bytes, (5, 3)).unwrap().unwrap_err(), (3, 5));
        for cut in 0..bytes.len() {
            assert!(Coded::read(&bytes[..cut], (3, 5)).is_err(), "{cut}");
        }
    }
}
