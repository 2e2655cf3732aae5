//! The bytes of a snapshot: written by one, read by anybody with this text. All numbers are little-endian, those called
//! `number` LEB128.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `VITRINDX` |
//! | 4 | format version, u32: 2 |
//! | 4 + n | length n, u32, and the [`Header`] as JSON |
//! | 4 + n | length n, u32, and the terms by number as JSON: `null` where a number is free |
//! | for each slot | length n, a number, and n bytes: a [record](super::record); 0 for a slot that is not in use |
//! | for each part | see below |
//! | 4 | CRC-32 (ISO-HDLC) of everything before |
//!
//! A part that is sealed is a [segment](super::segment) in a file of its own, named in the header; of an open one come ids
//! u64 x rows, ascending, owners (slots) u32 x rows, and vectors f16 x rows x dimension, row-major. Then, of either, the
//! positions of the dead, u32 x dead.
//!
//! Reading trusts nothing but the checksum's word that the bytes are those written: counts are held against what
//! is left of the file before memory is taken, and rows, owners and products against each other.

use super::products::Records;
use super::record::{self, Input, Product};
use super::rows::{Body, Part, Rows};
use super::segment::Segment;
use super::state::{Image, State};
use crate::filter::{Columns, Term, Terms};
use half::f16;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"VITRINDX";
const VERSION: u32 = 2;
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 4;

/// The head of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) model_version: String,
    pub(super) dimension: usize,
    pub(super) seq: u64,
    next_row: u64,
    slots: usize,
    pub(super) products: usize,
    pub(super) parts: Vec<PartHeader>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PartHeader {
    pub(super) rows: usize,
    pub(super) dead: usize,
    stray: bool,
    /// The file of a sealed part.
    pub(super) segment: Option<SegmentName>,
}

/// A segment that a snapshot is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SegmentName {
    /// Name in the snapshot's directory.
    pub(super) file: String,
    /// CRC-32 of its footer: another file of that name is not it.
    pub(super) crc32: u32,
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    out: W,
    hash: crc32fast::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a snapshot; `out` should be buffered.
pub(super) fn write(out: impl Write, model_version: &str, dimension: usize, image: &Image) -> io::Result<()> {
    let mut out = Hashing { out, hash: crc32fast::Hasher::new() };
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let header = Header {
        model_version: model_version.to_owned(),
        dimension,
        seq: image.seq,
        next_row: image.next_row,
        slots: image.records.len(),
        products: image.records.iter().count(),
        parts: image.parts.iter().map(part_header).collect(),
    };
    write_json(&mut out, &header)?;
    let terms: Vec<Option<&Term>> = image.terms.iter().collect();
    write_json(&mut out, &terms)?;
    let mut length = Vec::new();
    for slot in 0..image.records.len() as u32 {
        let record = image.records.get(slot).unwrap_or_default();
        length.clear();
        record::number(&mut length, record.len() as u64);
        out.write_all(&length)?;
        out.write_all(record)?;
    }
    for part in &image.parts {
        if let Body::Open(rows) = &part.body {
            out.write_all(bytemuck::cast_slice(rows.ids()))?;
            out.write_all(bytemuck::cast_slice(rows.owners()))?;
            (0..rows.len()).try_for_each(|at| out.write_all(bytemuck::cast_slice(rows.vector(at))))?;
        }
        for position in (0..part.len()).filter(|position| part.dead.contains(*position)) {
            out.write_all(&(position as u32).to_le_bytes())?;
        }
    }
    let checksum = std::mem::take(&mut out.hash).finalize();
    out.out.write_all(&checksum.to_le_bytes())?;
    out.out.flush()
}

fn part_header(part: &Part) -> PartHeader {
    let segment = part.segment().and_then(|segment| {
        let file = segment.path()?.file_name()?.to_string_lossy().into_owned();
        Some(SegmentName { file, crc32: segment.checksum() })
    });
    PartHeader { rows: part.len(), dead: part.dead.count(), stray: part.stray, segment }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&json)
}

/// The head of a snapshot, and what follows it up to the checksum, which is not looked at here.
pub(super) fn header(bytes: &[u8]) -> Result<(Header, Input<'_>), String> {
    let body = bytes.len().checked_sub(CHECKSUM).ok_or("it is shorter than its checksum")?;
    let mut input = Input(&bytes[..body]);
    if input.take(MAGIC.len()) != Some(MAGIC) {
        return Err("it does not begin as a snapshot".to_owned());
    }
    let version = input.u32().ok_or_else(short)?;
    if version != VERSION {
        return Err(format!("its format is {version}, expected {VERSION}"));
    }
    Ok((input.json()?, input))
}

/// Holds the checksum at the end against the rest.
pub(super) fn verify(bytes: &[u8]) -> Result<(), String> {
    let body = bytes.len().checked_sub(CHECKSUM).ok_or("it is shorter than its checksum")?;
    match crc32fast::hash(&bytes[..body]).to_le_bytes() == bytes[body..] {
        true => Ok(()),
        false => Err("its checksum does not match".to_owned()),
    }
}

fn short() -> String {
    "it ends too early".to_owned()
}

/// Reads what [`write()`] wrote. `open` gives the segment of a name, or `None` when it is lost; products that had a row in
/// a lost one are left out of the state, and come back beside it.
pub(super) fn read(
    bytes: &[u8],
    (model_version, dimension): (&str, usize),
    mut open: impl FnMut(&SegmentName) -> Option<Segment>,
) -> Result<(State, Vec<String>), String> {
    verify(bytes)?;
    let (header, mut input) = header(bytes)?;
    if header.model_version != model_version || header.dimension != dimension {
        let (version, dimension) = (header.model_version, header.dimension);
        return Err(format!("it is of model {version:?} with {dimension} values a vector"));
    }
    let terms: Vec<Option<Term>> = input.json()?;
    let mut records = Records::default();
    for _ in 0..header.slots {
        let length = input.number().and_then(|length| usize::try_from(length).ok()).ok_or_else(short)?;
        let record = input.take(length).ok_or_else(short)?;
        records.push((length > 0).then(|| record.into()));
    }
    let mut parts = Vec::with_capacity(header.parts.len());
    let mut is_lost = false;
    for part in &header.parts {
        match read_part(&mut input, part, dimension, &mut open)? {
            Some(part) => parts.push(part),
            None => is_lost = true,
        }
    }
    let mut image = Image { seq: header.seq, next_row: header.next_row, records, terms: Terms::default(), parts };
    let (products, lost) = check(&mut image, is_lost)?;
    let columns = Columns::restored(terms, products).ok_or("a product has a term that there is not")?;
    let ids = lost.iter().map(ToString::to_string).collect();
    Ok((State::restored(dimension, image, columns, lost), ids))
}

impl Input<'_> {
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn json<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, String> {
        let length = self.u32().ok_or_else(short)?;
        let bytes = self.take(length as usize).ok_or_else(short)?;
        serde_json::from_slice(bytes).map_err(|error| format!("a part of it is broken: {error}"))
    }

    /// So many numbers, wherever they lie.
    fn values<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<Vec<T>, String> {
        let bytes = count.checked_mul(size_of::<T>()).and_then(|bytes| self.take(bytes)).ok_or_else(short)?;
        Ok(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }
}

fn read_part(
    input: &mut Input<'_>,
    header: &PartHeader,
    dimension: usize,
    open: &mut impl FnMut(&SegmentName) -> Option<Segment>,
) -> Result<Option<Part>, String> {
    let mut part = match &header.segment {
        Some(name) => open(name).map(Part::sealed),
        None => {
            let ids: Vec<u64> = input.values(header.rows)?;
            if ids.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err("its rows are out of order".to_owned());
            }
            let owners: Vec<u32> = input.values(header.rows)?;
            let mut rows = Rows::new(dimension);
            for (id, owner) in ids.into_iter().zip(owners) {
                rows.push(id, owner, &input.values::<f16>(dimension)?);
            }
            Some(Part::open(rows))
        }
    };
    let dead: Vec<u32> = input.values(header.dead)?;
    if let Some(part) = &mut part {
        if part.len() != header.rows {
            return Err("a segment has other rows than it says".to_owned());
        }
        part.stray = header.stray;
        for position in dead {
            if position as usize >= header.rows || !part.dead.insert(position as usize) {
                return Err("its dead rows are not rows".to_owned());
            }
        }
    }
    Ok(part)
}

/// Every image has its one live row, every live row its image; products whose rows `is_lost` may excuse are taken out.
/// Gives back the products that are left, in numbers, and the ids of the others.
#[allow(clippy::type_complexity)] // Named, it would be no clearer.
fn check(
    image: &mut Image,
    is_lost: bool,
) -> Result<(impl Iterator<Item = (u32, crate::filter::Coded)> + use<>, Vec<Arc<str>>), String> {
    let mut cursors: Vec<usize> = image.parts.iter().map(|_| 0).collect();
    let (mut products, mut lost, mut images) = (Vec::with_capacity(image.records.len()), Vec::new(), 0);
    for slot in 0..image.records.len() as u32 {
        let Some(record) = image.records.get(slot) else { continue };
        let product = Product::decode(record).ok_or("a product is broken")?;
        // Slots come in order, and so do the owners of a segment: each is gone through once.
        for (part, at) in image.parts.iter().zip(&mut cursors) {
            if let Body::Sealed(segment) = &part.body {
                let owners = segment.owners();
                while owners.get(*at).is_some_and(|owner| *owner < slot) {
                    *at += 1;
                }
            }
        }
        let is_live = |row: u64| {
            image.parts.iter().zip(&cursors).any(|(part, at)| match &part.body {
                Body::Open(_) => part.find(slot, row).is_some(),
                Body::Sealed(segment) => {
                    let mut own = (*at..segment.len()).take_while(|at| segment.owners()[*at] == slot);
                    own.any(|at| segment.ids()[at] == row && !part.dead.contains(at))
                }
            })
        };
        if product.images.iter().all(|(_, row)| *row < image.next_row && is_live(*row)) {
            images += product.images.len();
            products.push((slot, product.coded));
        } else if is_lost {
            lost.push((slot, product));
        } else {
            return Err("an image has no row".to_owned());
        }
    }
    for (slot, product) in &lost {
        image.records.set(*slot, None);
        for (_, row) in &product.images {
            for part in &mut image.parts {
                part.kill(*slot, *row);
            }
        }
    }
    match images == image.parts.iter().map(Part::live).sum::<usize>() {
        true => Ok((products.into_iter(), lost.into_iter().map(|(_, product)| product.id).collect())),
        false => Err("a row has no image".to_owned()),
    }
}
