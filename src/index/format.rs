//! The bytes of a snapshot: written by one, read by anybody with this text. All numbers are little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `VITRINDX` |
//! | 4 | format version, u32: 1 |
//! | 4 + n | length n, u32, and the [`Header`] as JSON |
//! | 4 + n, for each product | length n, u32, and a [`ProductRecord`] as JSON |
//! | for each part | see below |
//! | 32 | SHA-256 of everything before |
//!
//! A part, with `rows` and `layers` from its [`PartHeader`]: ids u64 x rows, ascending; owners (slots) u32 x rows;
//! positions of the dead u32 x dead; vectors f32 x rows x dimension, row-major; for each layer, the bottom one
//! first: members u32, starts u32, edges u32, as [`Layer`] has them.
//!
//! Reading trusts nothing but the checksum's word that the bytes are those written: counts are held against what
//! is left of the file before memory is taken, and rows, owners and edges against each other.

use super::codes::Codes;
use super::graph::{Graph, Layer};
use super::rows::{Part, Rows};
use super::state::{Image, Product};
use crate::filter::Facets;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"VITRINDX";
const VERSION: u32 = 1;
/// Bytes of the checksum at the end.
pub(super) const CHECKSUM: u64 = 32;

/// The head of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    model_version: String,
    dimension: usize,
    seq: u64,
    next_row: u64,
    slots: usize,
    products: usize,
    parts: Vec<PartHeader>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PartHeader {
    rows: usize,
    dead: usize,
    /// Lengths of members, starts and edges, a layer; empty without a graph.
    layers: Vec<[usize; 3]>,
    entry: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProductRecord {
    slot: u32,
    id: String,
    seq: u64,
    facets: Facets,
    /// Image id and row id.
    images: Vec<(String, u64)>,
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    out: W,
    hash: Sha256,
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
    let mut out = Hashing { out, hash: Sha256::new() };
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    let products = || image.slots.iter().enumerate().filter_map(|(slot, product)| Some((slot, product.as_ref()?)));
    let header = Header {
        model_version: model_version.to_owned(),
        dimension,
        seq: image.seq,
        next_row: image.next_row,
        slots: image.slots.len(),
        products: products().count(),
        parts: image.parts.iter().map(part_header).collect(),
    };
    write_json(&mut out, &header)?;
    for (slot, product) in products() {
        let images = product.images.iter().map(|(id, row)| (id.to_string(), *row));
        let record = ProductRecord {
            slot: slot as u32,
            id: product.id.to_string(),
            seq: product.seq,
            facets: (*product.facets).clone(),
            images: images.collect(),
        };
        write_json(&mut out, &record)?;
    }
    for part in &image.parts {
        write_part(&mut out, part)?;
    }
    let checksum = out.hash.finalize_reset();
    out.out.write_all(&checksum)?;
    out.out.flush()
}

fn part_header(part: &Part) -> PartHeader {
    let lengths = |layer: &Layer| [layer.members.len(), layer.starts.len(), layer.edges.len()];
    PartHeader {
        rows: part.rows.len(),
        dead: part.dead.count(),
        layers: part.graph.iter().flat_map(|graph| graph.layers.iter().map(lengths)).collect(),
        entry: part.graph.as_ref().map_or(0, |graph| graph.entry),
    }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&json)
}

fn write_part(out: &mut impl Write, part: &Part) -> io::Result<()> {
    let rows = &part.rows;
    for position in 0..rows.len() {
        out.write_all(&rows.id(position).to_le_bytes())?;
    }
    write_u32s(out, rows.owners())?;
    for position in (0..rows.len()).filter(|position| part.dead.contains(*position)) {
        out.write_all(&(position as u32).to_le_bytes())?;
    }
    let mut bytes = Vec::new();
    for vector in rows.vectors() {
        bytes.clear();
        bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    for layer in part.graph.iter().flat_map(|graph| &graph.layers) {
        write_u32s(out, &layer.members)?;
        write_u32s(out, &layer.starts)?;
        write_u32s(out, &layer.edges)?;
    }
    Ok(())
}

fn write_u32s(out: &mut impl Write, values: &[u32]) -> io::Result<()> {
    values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

/// Why bytes are no snapshot of this index.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The file is not what was written.
    Damaged(String),
    /// The disk does not give it.
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
            _ => Self::Io(error),
        }
    }
}

fn damaged(what: impl Into<String>) -> Unreadable {
    Unreadable::Damaged(what.into())
}

/// Holds the checksum at the end of `file`, which is `length` bytes long, against the rest.
pub(super) fn verify(file: &mut impl Read, length: u64) -> Result<(), Unreadable> {
    let body = length.checked_sub(CHECKSUM).ok_or_else(|| damaged("it is shorter than its checksum"))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut left = body;
    while left > 0 {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read(&mut buffer[..take])?;
        if read == 0 {
            return Err(damaged("it ends too early"));
        }
        hash.update(&buffer[..read]);
        left -= read as u64;
    }
    let mut stored = [0; CHECKSUM as usize];
    file.read_exact(&mut stored)?;
    match hash.finalize()[..] == stored {
        true => Ok(()),
        false => Err(damaged("its checksum does not match")),
    }
}

/// Reads what [`write()`] wrote; `input` is the `length` bytes before the checksum.
pub(super) fn read(input: impl Read, length: u64, model_version: &str, dimension: usize) -> Result<Image, Unreadable> {
    let mut input = Input { input, left: length };
    if &input.array::<8>()? != MAGIC {
        return Err(damaged("it does not begin as a snapshot"));
    }
    let version = u32::from_le_bytes(input.array()?);
    if version != VERSION {
        return Err(damaged(format!("its format is {version}, expected {VERSION}")));
    }
    let header: Header = input.json()?;
    if header.model_version != model_version || header.dimension != dimension {
        let (version, dimension) = (header.model_version, header.dimension);
        return Err(damaged(format!("it is of model {version:?} with {dimension} values a vector")));
    }
    let mut slots = Vec::new();
    for _ in 0..header.products {
        let record: ProductRecord = input.json()?;
        let slot = record.slot as usize;
        if slot < slots.len() || slot >= header.slots {
            return Err(damaged("its products are out of order"));
        }
        slots.resize(slot, None);
        let images = record.images.into_iter().map(|(id, row)| (Arc::from(id), row));
        slots.push(Some(Arc::new(Product {
            id: Arc::from(record.id),
            seq: record.seq,
            facets: Arc::new(record.facets),
            images: images.collect(),
        })));
    }
    let parts: Result<Vec<Part>, Unreadable> =
        header.parts.iter().map(|part| read_part(&mut input, part, dimension)).collect();
    let image = Image { seq: header.seq, next_row: header.next_row, slots, parts: parts? };
    check(&image)?;
    Ok(image)
}

struct Input<R> {
    input: R,
    left: u64,
}

impl<R: Read> Input<R> {
    /// Fails when `count` values of `size` bytes cannot be in what is left.
    fn room(&self, count: usize, size: usize) -> Result<(), Unreadable> {
        match (count as u64).checked_mul(size as u64) {
            Some(bytes) if bytes <= self.left => Ok(()),
            _ => Err(damaged("it ends too early")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.room(N, 1)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(bytes)
    }

    fn bytes(&mut self, count: usize, size: usize) -> Result<Vec<u8>, Unreadable> {
        self.room(count, size)?;
        let mut bytes = vec![0; count * size];
        self.input.read_exact(&mut bytes)?;
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }

    fn json<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, Unreadable> {
        let length = u32::from_le_bytes(self.array()?);
        let bytes = self.bytes(length as usize, 1)?;
        serde_json::from_slice(&bytes).map_err(|error| damaged(format!("a record is broken: {error}")))
    }

    fn u32s(&mut self, count: usize) -> Result<Vec<u32>, Unreadable> {
        let bytes = self.bytes(count, 4)?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }
}

fn read_part(input: &mut Input<impl Read>, header: &PartHeader, dimension: usize) -> Result<Part, Unreadable> {
    let ids = input.bytes(header.rows, 8)?;
    let ids: Vec<u64> = ids.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    if ids.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(damaged("its rows are out of order"));
    }
    let owners = input.u32s(header.rows)?;
    let dead = input.u32s(header.dead)?;
    let mut rows = Rows::new(dimension);
    let mut vector = vec![0.0f32; dimension];
    for (id, owner) in ids.iter().zip(&owners) {
        let bytes = input.bytes(dimension, 4)?;
        for (value, bytes) in vector.iter_mut().zip(bytes.as_chunks().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        rows.push(*id, *owner, &vector);
    }
    let mut layers = Vec::new();
    for [members, starts, edges] in &header.layers {
        layers.push(Layer { members: input.u32s(*members)?, starts: input.u32s(*starts)?, edges: input.u32s(*edges)? });
    }
    let graph = (!layers.is_empty()).then(|| Graph::new(layers, header.entry, Codes::new(&rows)));
    if graph.as_ref().is_some_and(|graph| !graph.is_sound(header.rows)) {
        return Err(damaged("its graph points nowhere"));
    }
    let mut part = Part::new(rows, graph);
    for position in dead {
        if position as usize >= header.rows || !part.dead.insert(position as usize) {
            return Err(damaged("its dead rows are not rows"));
        }
    }
    Ok(part)
}

/// Every image has its one live row, every live row its image.
fn check(image: &Image) -> Result<(), Unreadable> {
    let mut images = 0;
    for (slot, product) in image.slots.iter().enumerate() {
        let Some(product) = product else { continue };
        for (_, row) in &product.images {
            let owner = |part: &Part| Some(part.rows.owner(part.live_position(*row)?) as usize);
            if image.parts.iter().find_map(owner) != Some(slot) || *row >= image.next_row {
                return Err(damaged("an image has no row"));
            }
            images += 1;
        }
    }
    match images == image.parts.iter().map(Part::live).sum::<usize>() {
        true => Ok(()),
        false => Err(damaged("a row has no image")),
    }
}
