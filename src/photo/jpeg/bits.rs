//! The entropy-coded data of a scan, bit by bit (T.81, F.2.2.5).

/// A scan's data without byte stuffing, in the segments that restart markers make.
#[derive(Default)]
pub(super) struct Segments {
    bytes: Vec<u8>,
    /// Where each segment ends in `bytes`.
    ends: Vec<usize>,
}

impl Segments {
    /// Takes a scan's data, of at most `most` segments, from the front of `data`, in place of what it held; gives how many
    /// bytes it took. After them comes a marker, or nothing. `None` for more segments.
    pub(super) fn fill(&mut self, data: &[u8], most: usize) -> Option<usize> {
        self.bytes.clear();
        self.ends.clear();
        let mut at = 0;
        loop {
            let rest = data.get(at..).unwrap_or_default();
            let run = memchr::memchr(0xff, rest).unwrap_or(rest.len());
            self.bytes.extend_from_slice(rest.get(..run).unwrap_or_default());
            at += run;
            match data.get(at + 1) {
                Some(0x00) => self.bytes.push(0xff),
                Some(0xd0..=0xd7) if self.ends.len() + 1 < most => self.ends.push(self.bytes.len()),
                Some(0xd0..=0xd7) => return None,
                _ => {
                    self.ends.push(self.bytes.len());
                    return Some(at);
                }
            }
            at += 2;
        }
    }

    /// A reader of each segment in turn.
    pub(super) fn readers(&self) -> impl Iterator<Item = Bits<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| Bits::new(self.bytes.get(start..end).unwrap_or_default()))
    }
}

/// A reader of one segment. After its end come zeros; [`Bits::ended_well`] tells.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Bytes that the window has, or had.
    at: usize,
    /// The next `ready` bits, from the top; what lies below them may be the start of what follows.
    window: u64,
    ready: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, window: 0, ready: 0 }
    }

    /// Makes at least 56 bits ready.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let next = rest.first_chunk().map_or_else(|| last(rest), |&bytes| u64::from_be_bytes(bytes));
        self.window |= next >> self.ready;
        // Whole bytes only; the bits of a part of one are or-ed in again by the next refill, as the same.
        self.at += (63 - self.ready as usize) >> 3;
        self.ready |= 56;
    }

    /// The next `count` bits, 1 to 32, of those that are ready.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.window >> (64 - count)) as u32
    }

    /// Passes `count` bits, 0 to 32, of those that are ready.
    #[inline(always)]
    pub(super) fn pass(&mut self, count: u32) {
        self.window <<= count;
        self.ready -= count;
    }

    /// Takes `count` bits, 0 to 32, of those that are ready.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        // In two shifts: one by 64 is none.
        let bits = (self.window >> 1 >> (63 - count)) as u32;
        self.pass(count);
        bits
    }

    /// Whether all bits were taken but the padding of the last byte, and none after it.
    pub(super) fn ended_well(&self) -> bool {
        let (taken, all) = (8 * self.at - self.ready as usize, 8 * self.data.len());
        taken <= all && all - taken < 8
    }
}

/// Fewer than eight bytes, and zeros.
#[cold]
fn last(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_in_order_and_end(data in prop::collection::vec(any::<u8>(), 0..40), counts in prop::collection::vec(0..=32_u32, 40)) {
            let mut bits = Bits::new(&data);
            let all: Vec<u8> = data.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
            let mut at = 0;
            for count in counts {
                bits.refill();
                let expected = (at..at + count as usize).fold(0, |sum, i| sum << 1 | u32::from(all.get(i).copied().unwrap_or(0)));
                prop_assert_eq!(bits.take(count), expected);
                at += count as usize;
                prop_assert_eq!(bits.ended_well(), at <= all.len() && all.len() - at < 8);
            }
        }

        #[test]
        fn stuffing_goes_and_markers_cut(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5)) {
            let mut data = Vec::new();
            for (n, part) in parts.iter().enumerate() {
                for &byte in part {
                    data.extend_from_slice(if byte == 0xff { &[0xff, 0] } else { std::slice::from_ref(&byte) });
                }
                data.extend([0xff, if n + 1 == parts.len() { 0xda } else { 0xd0 + n as u8 }]);
            }
            let mut segments = Segments::default();
            prop_assert_eq!(segments.fill(&data, parts.len()), Some(data.len() - 2));
            let found: Vec<&[u8]> = segments.readers().map(|bits| bits.data).collect();
            prop_assert_eq!(found, parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert!(parts.len() == 1 || segments.fill(&data, parts.len() - 1).is_none());
        }
    }
}
