//! Huffman tables (T.81, annexes C and F.2.2) as look-ups.

use super::bits::Bits;

/// Bits of a look-up; longer codes, the rarest ones, are compared length by length.
const LOOK: u32 = 10;

/// A table of a DHT segment.
pub(super) struct Huffman {
    /// By the next [`LOOK`] bits: the code's length and its symbol; 0 where no code of so few bits begins so.
    codes: Vec<[u8; 2]>,
    /// By the next [`LOOK`] bits: the run of zeros and the value, where a code and all bits of its value are among them.
    values: Vec<RunValue>,
    /// By length: what the next 16 bits are below if they begin with a code of no more bits.
    limits: [u32; 17],
    /// By length: what a code needs added to be its symbol's place.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// A value of [`Huffman::values`]; of `length` 0 none.
#[derive(Clone, Copy, Default)]
struct RunValue {
    value: i16,
    run: u8,
    length: u8,
}

impl Huffman {
    /// A table of `counts` codes of 1 to 16 bits; `None` if there are more codes than such bits can be, one of ones only (C.2
    /// keeps it free), or fewer symbols.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut codes = vec![[0; 2]; 1 << LOOK];
        let (mut limits, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0_u32, 0_usize);
        for (length, &count) in (1..).zip(counts) {
            offsets[length as usize] = place as i32 - code as i32;
            for &symbol in symbols.get(place..place + usize::from(count))? {
                if code >= (1 << length) - 1 {
                    return None;
                }
                if length <= LOOK {
                    let spare = LOOK - length;
                    let first = (code << spare) as usize;
                    codes.get_mut(first..first + (1 << spare))?.fill([length as u8, symbol]);
                }
                code += 1;
            }
            place += usize::from(count);
            limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        let values = (0..).zip(&codes).map(|(bits, &code)| RunValue::new(bits, code)).collect();
        Some(Self { codes, values, limits, offsets, symbols: symbols.get(..place)?.to_vec() })
    }

    /// All symbols, those of the shortest codes first.
    pub(super) fn symbols(&self) -> &[u8] {
        &self.symbols
    }

    /// The next symbol, of at least 16 bits that are ready; `None` where no code begins so.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Option<u8> {
        match *self.codes.get(bits.peek(LOOK) as usize)? {
            [0, _] => self.long_symbol(bits),
            [length, symbol] => {
                bits.pass(u32::from(length));
                Some(symbol)
            }
        }
    }

    #[cold]
    fn long_symbol(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let next = bits.peek(16);
        let length = (LOOK + 1..=16).find(|&length| next < self.limits[length as usize])?;
        bits.pass(length);
        let place = (next >> (16 - length)) as i32 + self.offsets[length as usize];
        self.symbols.get(usize::try_from(place).ok()?).copied()
    }

    /// The next run of zeros and the value after it, where one look tells both.
    #[inline(always)]
    pub(super) fn run_value(&self, bits: &mut Bits<'_>) -> Option<(u32, i32)> {
        let found = *self.values.get(bits.peek(LOOK) as usize)?;
        bits.pass(u32::from(found.length));
        (found.length > 0).then_some((u32::from(found.run), i32::from(found.value)))
    }
}

impl RunValue {
    /// What the [`LOOK`] bits `bits` begin with, of which a code of that length and symbol is the start.
    fn new(bits: u32, [length, symbol]: [u8; 2]) -> Self {
        let (run, size) = (symbol >> 4, symbol & 15);
        let together = length + size;
        if length == 0 || size == 0 || u32::from(together) > LOOK {
            return Self::default();
        }
        let own = bits >> (LOOK - u32::from(together)) & ((1 << size) - 1);
        Self { value: extended(own, u32::from(size)) as i16, run, length: together }
    }
}

/// The value that `size` bits, 0 to 16, stand for (T.81, F.2.2.1): those that begin with 0 are negative.
#[inline(always)]
pub(super) fn extended(bits: u32, size: u32) -> i32 {
    let is_negative = bits << 1 >> size == 0;
    bits as i32 - i32::from(is_negative) * ((1 << size) - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::bits::Segments;
    use super::*;

    #[test]
    fn values_are_those_of_the_standard() {
        // T.81, table F.1: of each size the lowest, the highest negative, the lowest positive and the highest value.
        assert_eq!(extended(0, 0), 0);
        for size in 1..=15 {
            let (least, most) = (1 << (size - 1), (1 << size) - 1);
            let found = [0, least - 1, least, most].map(|bits| extended(bits, size));
            assert_eq!(found, [-(most as i32), -(least as i32), least as i32, most as i32], "{size} bits");
        }
    }

    /// Codes of every length, 1 to 16, one each: ones, and a zero at their end.
    #[test]
    fn codes_of_all_lengths_are_found() {
        let symbols: Vec<u8> = (1..=16).map(|n| n * 15).collect();
        let table = Huffman::new(&[1; 16], &symbols).unwrap();
        for (length, &symbol) in (1..=16_u32).zip(&symbols) {
            let code = (0xffff_u32 << (17 - length) & 0xffff) as u16;
            let mut segments = Segments::default();
            let stuffed: Vec<u8> = code
                .to_be_bytes()
                .into_iter()
                .flat_map(|byte| [byte, 0].into_iter().take(1 + usize::from(byte == 0xff)))
                .collect();
            segments.fill(&stuffed, 1);
            let mut bits = segments.readers().next().unwrap();
            bits.refill();
            assert_eq!(table.symbol(&mut bits), Some(symbol), "{length} bits");
        }
    }

    #[test]
    fn tables_that_cannot_be_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[1, 2, 3]).is_none(), "three codes of one bit");
        counts[0] = 2;
        assert!(Huffman::new(&counts, &[1, 2]).is_none(), "a code of ones");
        (counts[0], counts[1]) = (1, 1);
        assert!(Huffman::new(&counts, &[1]).is_none(), "fewer symbols than codes");
        assert!(Huffman::new(&counts, &[1, 2]).is_some());
        let table = Huffman::new(&[0; 16], &[]).unwrap();
        let mut segments = Segments::default();
        segments.fill(&[0; 4], 1);
        assert!(table.symbol(&mut segments.readers().next().unwrap()).is_none(), "an empty one");
    }
}
