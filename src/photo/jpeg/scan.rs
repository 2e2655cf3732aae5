//! Scans (T.81, annexes F.2 and G.2): from entropy-coded data to the lowest frequencies of each block.
//!
//! A frequency that the smaller picture cannot show is read past and not kept. Of progressive files one bit of it is, since
//! how a refinement is coded depends on which are zero so far; so a block at half its size takes 40 bytes instead of 128.

use super::bits::Bits;
use super::huffman::{Huffman, extended};
use multiversion::multiversion;

/// Rows of eight and columns, by place in zigzag order (T.81, figure 5).
#[rustfmt::skip]
const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Which frequencies of a block are kept, and where.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    /// By place in zigzag order; [`NOWHERE`] for those that are not kept.
    places: [u8; 64],
    /// Those that are, a bit for each place in zigzag order.
    set: u64,
}

/// A place that no block has.
const NOWHERE: u8 = u8::MAX;

impl Kept {
    /// The lowest `width` x `height`, row-major.
    pub(super) fn new(width: usize, height: usize) -> Self {
        let mut kept = Self { places: [NOWHERE; 64], set: 0 };
        for (k, (place, &at)) in kept.places.iter_mut().zip(&ZIGZAG).enumerate() {
            let (row, column) = (usize::from(at / 8), usize::from(at % 8));
            if row < height && column < width {
                *place = (row * width + column) as u8;
                kept.set |= 1 << k;
            }
        }
        kept
    }

    /// Where the frequency at place `k` in zigzag order is kept in `block`.
    #[inline(always)]
    fn of<'a, T>(&self, block: &'a mut [T], k: usize) -> Option<&'a mut T> {
        block.get_mut(usize::from(*self.places.get(k)?))
    }

    /// `values`, in zigzag order, as a block of `size` keeps them.
    pub(super) fn arranged(&self, values: &[u16; 64], size: usize) -> Vec<f32> {
        let mut arranged = vec![0.0; size];
        for (k, &value) in values.iter().enumerate() {
            if let Some(to) = self.of(&mut arranged, k) {
                *to = f32::from(value);
            }
        }
        arranged
    }
}

/// The blocks of a component. Across and down are counted in blocks.
pub(super) struct Blocks {
    /// Of the whole component, as scans of several components go over it.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Of those that hold pixels, as scans of this component alone go over it.
    pub(super) own_across: usize,
    pub(super) own_down: usize,
    /// Blocks of one unit of several components (T.81, A.2.3): the sampling factors.
    pub(super) unit: (usize, usize),
    /// Frequencies kept of a block.
    pub(super) size: usize,
    /// (down, across, size)
    pub(super) frequencies: Vec<i16>,
    /// (down, across): which frequencies are not zero, a bit for each place in zigzag order; of progressive files.
    pub(super) nonzero: Vec<u64>,
}

impl Blocks {
    #[inline(always)]
    fn at(&mut self, x: usize, y: usize) -> Option<Block<'_>> {
        let at = y * self.across + x;
        let frequencies = self.frequencies.get_mut(at * self.size..(at + 1) * self.size)?;
        Some(Block { frequencies, nonzero: self.nonzero.get_mut(at)? })
    }
}

/// One of [`Blocks`].
struct Block<'a> {
    frequencies: &'a mut [i16],
    nonzero: &'a mut u64,
}

/// The frequencies that a scan tells, and which of their bits (T.81, B.2.3).
#[derive(Clone, Copy)]
pub(super) struct Band {
    /// First and last, by place in zigzag order.
    pub(super) first: usize,
    pub(super) last: usize,
    /// The lowest bit that earlier scans told; 0 in the first one.
    pub(super) high: u32,
    /// The lowest bit that this one tells.
    pub(super) low: u32,
}

impl Band {
    /// All there is, as a sequential scan tells it.
    pub(super) const WHOLE: Self = Self { first: 0, last: 63, high: 0, low: 0 };
}

/// A component in a scan.
#[derive(Clone, Copy)]
pub(super) struct Scanned<'a> {
    /// Its place in the file's components.
    pub(super) component: usize,
    pub(super) dc: Option<&'a Huffman>,
    pub(super) ac: Option<&'a Huffman>,
    pub(super) kept: &'a Kept,
}

/// Reads one scan into the blocks of its components. `units` are those across and down, of which a restart marker comes
/// after each `restart`; 0 is never. `None` where the data are not what an encoder writes.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"))]
pub(super) fn read<'a>(
    components: &mut [Blocks],
    scanned: &[Scanned<'_>],
    (progressive, band): (bool, Band),
    units: (usize, usize),
    restart: usize,
    segments: impl Iterator<Item = Bits<'a>>,
) -> Option<()> {
    let first = scanned.first()?;
    let kept = *first.kept;
    let mut walk = Walk { components, scanned, units, segments, restart, left: restart };
    match (progressive, band.first, band.high) {
        (false, ..) => walk.run(&mut Sequential { means: [0; COMPONENTS] }),
        (true, 0, 0) => walk.run(&mut DcFirst { means: [0; COMPONENTS], low: band.low }),
        (true, 0, _) => walk.run(&mut DcRefinement { low: band.low }),
        (true, _, 0) => walk.run(&mut AcFirst { table: first.ac?, kept, band, empty: 0 }),
        (true, ..) => walk.run(&mut AcRefinement { table: first.ac?, kept, band, empty: 0 }),
    }
}

/// Components of a picture, at most.
pub(super) const COMPONENTS: usize = 3;

/// The order in which a scan goes over blocks (T.81, A.2), and its segments.
struct Walk<'w, 's, I> {
    components: &'w mut [Blocks],
    scanned: &'w [Scanned<'s>],
    units: (usize, usize),
    segments: I,
    restart: usize,
    /// Units until the next restart marker.
    left: usize,
}

impl<'a, I: Iterator<Item = Bits<'a>>> Walk<'_, '_, I> {
    #[inline(always)]
    fn run(&mut self, pass: &mut impl Pass) -> Option<()> {
        let mut bits = self.segments.next()?;
        if let &[only] = self.scanned {
            let blocks = self.components.get(only.component)?;
            let (across, down) = (blocks.own_across, blocks.own_down);
            for y in 0..down {
                for x in 0..across {
                    self.before_unit(&mut bits, pass)?;
                    pass.block(&mut bits, &only, self.components.get_mut(only.component)?.at(x, y)?)?;
                }
            }
        } else {
            for y in 0..self.units.1 {
                for x in 0..self.units.0 {
                    self.before_unit(&mut bits, pass)?;
                    self.unit((x, y), &mut bits, pass)?;
                }
            }
        }
        (bits.ended_well() && self.segments.next().is_none()).then_some(())
    }

    /// The blocks of several components that show the same pixels.
    #[inline(always)]
    fn unit(&mut self, (x, y): (usize, usize), bits: &mut Bits<'a>, pass: &mut impl Pass) -> Option<()> {
        for scanned in self.scanned {
            let blocks = self.components.get_mut(scanned.component)?;
            let (h, v) = blocks.unit;
            for down in 0..v {
                for across in 0..h {
                    pass.block(bits, scanned, blocks.at(x * h + across, y * v + down)?)?;
                }
            }
        }
        Some(())
    }

    /// Goes to the next segment where one ends.
    #[inline(always)]
    fn before_unit(&mut self, bits: &mut Bits<'a>, pass: &mut impl Pass) -> Option<()> {
        if self.restart == 0 {
            return Some(());
        }
        if self.left == 0 {
            if !bits.ended_well() {
                return None;
            }
            *bits = self.segments.next()?;
            pass.restart();
            self.left = self.restart;
        }
        self.left -= 1;
        Some(())
    }
}

/// What a kind of scan does.
trait Pass {
    /// Forgets what blocks before a restart marker have to do with those after it.
    fn restart(&mut self);

    /// Reads one block's part of the scan; `None` where no encoder writes such.
    fn block(&mut self, bits: &mut Bits<'_>, scanned: &Scanned<'_>, block: Block<'_>) -> Option<()>;
}

/// Means of the blocks before, by component.
type Means = [i32; COMPONENTS];

/// Bits of a difference of means, and of any other value, of samples of 8 bits (T.81, tables F.1 and F.2).
const MEAN_BITS: u32 = 11;
const VALUE_BITS: u32 = 10;

/// The mean of a block, which is coded as its difference from the one before (F.2.2.1).
#[inline(always)]
fn mean(bits: &mut Bits<'_>, scanned: &Scanned<'_>, means: &mut Means) -> Option<i32> {
    bits.refill();
    let size = u32::from(scanned.dc?.symbol(bits)?);
    if size > MEAN_BITS {
        return None;
    }
    let mean = means.get_mut(scanned.component)?;
    *mean = mean.wrapping_add(extended(bits.take(size), size));
    Some(*mean)
}

/// What a code for frequencies says.
enum Coded {
    /// So many zeros, then a value.
    Value(u32, i32),
    /// Sixteen zeros.
    Zeros,
    /// Nothing more in this block, nor in that many more after it.
    End(u32),
}

/// The next code of a scan that tells values whole.
#[inline(always)]
fn coded(bits: &mut Bits<'_>, table: &Huffman) -> Option<Coded> {
    bits.refill();
    if let Some((run, value)) = table.run_value(bits) {
        return Some(Coded::Value(run, value));
    }
    let symbol = u32::from(table.symbol(bits)?);
    let (run, size) = (symbol >> 4, symbol & 15);
    Some(match size {
        0 if run == 15 => Coded::Zeros,
        0 => Coded::End((1 << run) - 1 + bits.take(run)),
        1..=VALUE_BITS => Coded::Value(run, extended(bits.take(size), size)),
        _ => return None,
    })
}

/// Hands over the values of a block from frequency `first` to `last`, each with its place in zigzag order; gives how many blocks
/// after it have none.
#[inline(always)]
fn values(
    bits: &mut Bits<'_>,
    table: &Huffman,
    (first, last): (usize, usize),
    mut put: impl FnMut(usize, i32),
) -> Option<u32> {
    let mut k = first;
    while k <= last {
        match coded(bits, table)? {
            Coded::Value(run, value) => {
                k += run as usize;
                if k > last {
                    return None;
                }
                put(k, value);
                k += 1;
            }
            Coded::Zeros => k += 16,
            Coded::End(empty) => return Some(empty),
        }
    }
    (k == last + 1).then_some(0)
}

/// All of a block at once (F.2.2).
struct Sequential {
    means: Means,
}

impl Pass for Sequential {
    fn restart(&mut self) {
        self.means = Means::default();
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, scanned: &Scanned<'_>, block: Block<'_>) -> Option<()> {
        let table = scanned.ac?;
        *block.frequencies.first_mut()? = mean(bits, scanned, &mut self.means)? as i16;
        let empty = values(bits, table, (1, 63), |k, value| {
            if let Some(to) = scanned.kept.of(block.frequencies, k) {
                *to = value as i16;
            }
        })?;
        // Each block ends for itself.
        (empty == 0).then_some(())
    }
}

/// The first bits of the means (G.1.2.1).
struct DcFirst {
    means: Means,
    low: u32,
}

impl Pass for DcFirst {
    fn restart(&mut self) {
        self.means = Means::default();
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, scanned: &Scanned<'_>, block: Block<'_>) -> Option<()> {
        *block.frequencies.first_mut()? = (mean(bits, scanned, &mut self.means)? << self.low) as i16;
        Some(())
    }
}

/// One more bit of the means (G.1.2.1).
struct DcRefinement {
    low: u32,
}

impl Pass for DcRefinement {
    fn restart(&mut self) {}

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, _: &Scanned<'_>, block: Block<'_>) -> Option<()> {
        bits.refill();
        *block.frequencies.first_mut()? |= (bits.take(1) << self.low) as i16;
        Some(())
    }
}

/// The first bits of a band (G.1.2.2).
struct AcFirst<'a> {
    table: &'a Huffman,
    kept: Kept,
    band: Band,
    /// Blocks to come that have nothing in the band.
    empty: u32,
}

impl Pass for AcFirst<'_> {
    fn restart(&mut self) {
        self.empty = 0;
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, _: &Scanned<'_>, block: Block<'_>) -> Option<()> {
        if self.empty > 0 {
            self.empty -= 1;
            return Some(());
        }
        let Band { first, last, low, .. } = self.band;
        self.empty = values(bits, self.table, (first, last), |k, value| {
            *block.nonzero |= 1 << k;
            if let Some(to) = self.kept.of(block.frequencies, k) {
                *to = (value << low) as i16;
            }
        })?;
        Some(())
    }
}

/// One more bit of a band (G.1.2.3): of those that are not zero a correction, and some that were zero come to be one.
///
/// How many corrections come after a code is known from what was not zero before the scan, so the bits are gathered first
/// and given to the frequencies that are kept once a block: a loop for each code would be guessed wrong by the processor
/// nearly each time (it took half as long again).
struct AcRefinement<'a> {
    table: &'a Huffman,
    kept: Kept,
    band: Band,
    /// Blocks to come, this one with them, in which no more comes to be.
    empty: u32,
}

impl Pass for AcRefinement<'_> {
    fn restart(&mut self) {
        self.empty = 0;
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits<'_>, _: &Scanned<'_>, block: Block<'_>) -> Option<()> {
        let band = (u64::MAX >> (63 - self.band.last)) & (u64::MAX << self.band.first);
        let known = band & *block.nonzero;
        let mut ahead = band;
        let mut corrections = 0;
        let (mut new, mut negative) = (0, 0);
        while self.empty == 0 && ahead != 0 {
            bits.refill();
            let symbol = u32::from(self.table.symbol(bits)?);
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run < 15 {
                self.empty = (1 << run) + bits.take(run);
                break;
            }
            if size > 1 {
                return None;
            }
            let is_negative = size & !bits.take(size);
            // The one after `run` that stay zero; sixteen zeros are a run of 15, and one more that stays.
            let one = nth(ahead & !known, run)?;
            let passed = ahead & (one | (one - 1));
            ahead ^= passed;
            new |= one * u64::from(size);
            negative |= one * u64::from(is_negative);
            corrections = followed(corrections, bits, (passed & known).count_ones());
        }
        if self.empty > 0 {
            self.empty -= 1;
            let rest = (ahead & known).count_ones();
            if rest > 0 {
                bits.refill();
                corrections = followed(corrections, bits, rest);
            }
        }
        *block.nonzero |= new;
        if corrections != 0 {
            let count = known.count_ones();
            for_each(known & self.kept.set, |one, k| {
                let after = count - 1 - (known & (one - 1)).count_ones();
                if let Some(value) = self.kept.of(block.frequencies, k) {
                    let correction = ((corrections >> after & 1) << self.band.low) as i16;
                    *value = value.wrapping_add(value.signum() * correction);
                }
            });
        }
        for_each(new & self.kept.set, |one, k| {
            if let Some(value) = self.kept.of(block.frequencies, k) {
                *value = (1 - 2 * i16::from(negative & one != 0)) << self.band.low;
            }
        });
        Some(())
    }
}

/// `before`, followed by the next `count` bits, at most 63; 32 of them are ready.
#[inline(always)]
fn followed(before: u64, bits: &mut Bits<'_>, count: u32) -> u64 {
    if count <= 32 {
        return before << count | u64::from(bits.take(count));
    }
    let before = before << (count - 32) | u64::from(bits.take(count - 32));
    bits.refill();
    before << 32 | u64::from(bits.take(32))
}

/// The bit of `set` that has `n`, at most 15, others below it; `None` if there are not so many.
#[inline(always)]
fn nth(set: u64, n: u32) -> Option<u64> {
    let without_lowest = |set: u64| set & set.wrapping_sub(1);
    // Up to three by a look-up, and the others four at a time: a loop of `n` steps is guessed wrong too often.
    let (one, two) = (without_lowest(set), without_lowest(without_lowest(set)));
    let mut left = [set, one, two, without_lowest(two)][n as usize & 3];
    for _ in 0..n >> 2 {
        left = without_lowest(without_lowest(without_lowest(without_lowest(left))));
    }
    (left != 0).then_some(left & left.wrapping_neg())
}

/// Each bit of `set` by itself, from the lowest, and its place.
#[inline(always)]
fn for_each(mut set: u64, mut work: impl FnMut(u64, usize)) {
    while set != 0 {
        let one = set & set.wrapping_neg();
        work(one, one.trailing_zeros() as usize);
        set ^= one;
    }
}
