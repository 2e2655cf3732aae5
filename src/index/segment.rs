//! A sealed segment: rows by product under a graph, in one file that is written once and mapped.
//!
//! # Format
//! All numbers are little-endian. Sections start on multiples of 64 bytes, zeros between them.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `VITRSEGM` |
//! | u32 x rows | `owners`: the slot of each row's product, ascending |
//! | u64 x rows | `ids`: ids of the rows, ascending among those of a slot |
//! | 64 x blocks x rows | `codes`: a byte a value, padded with zeros to whole blocks of 64; see [`codes`](super::codes) |
//! | for each layer, the bottom one first | `members` u32, `starts` u32, `edges` u32, as [`Layer`] has them |
//! | f16 x dimension x rows | `vectors`: IEEE 754 binary16, row-major |
//! | n | [`Footer`] as JSON: what the sections are, where, and their CRC-32 (ISO-HDLC, the zeros before it included) |
//! | 4, 4, 8 | n, the CRC-32 of the footer, and `VITRSEGM` again |
//!
//! A reader takes the last 16 bytes, then the footer, then what it needs. A search is [`graph`](super::graph)'s: greedy from
//! `entry` down the layers, a beam on the bottom one, scores of codes; of the nearest some are scored by their vectors.

use super::codes::Codes;
use super::graph::{Graph, Layer};
use super::grow::Grown;
use super::kernel::{self, int8::Block};
use super::rows::{Part, RowId};
use half::f16;
use memmap2::{Advice, Mmap};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"VITRSEGM";
/// Bytes after the footer.
const TRAILER: usize = 16;
/// Sections start on multiples of this: a cache line, and what blocks of codes ask for.
const ALIGN: usize = 64;

// The arrays are used as they lie in the file.
#[cfg(target_endian = "big")]
compile_error!("segments are read in place, which takes a little-endian processor");

/// What the sections of a segment are.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Footer {
    format: u32,
    model_version: String,
    dimension: usize,
    rows: usize,
    /// Bits of the f32 that values were multiplied by to make codes.
    scale: u32,
    /// Where a search enters the top layer.
    entry: u32,
    /// Owners, ids, codes, three a layer, vectors.
    sections: Vec<Section>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Section {
    offset: usize,
    bytes: usize,
    crc32: u32,
}

impl Section {
    fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes
    }
}

const FORMAT: u32 = 1;
const OWNERS: usize = 0;
const IDS: usize = 1;
const CODES: usize = 2;
const LAYERS: usize = 3;

/// No position: a row that is not merged.
pub(super) const DROPPED: u32 = u32::MAX;

/// Rows in the order of a segment, still in the parts they come from.
pub(super) struct Merged<'a> {
    parts: &'a [Part],
    /// Slot, id, part and position.
    order: Vec<(u32, RowId, u32, u32)>,
}

impl<'a> Merged<'a> {
    /// The live rows of `parts`.
    pub(super) fn new(parts: &'a [Part]) -> Self {
        let mut order = Vec::with_capacity(parts.iter().map(Part::live).sum());
        for (p, part) in parts.iter().enumerate() {
            let rows = part.owners().iter().zip(part.ids()).enumerate();
            let live = rows.filter(|(position, _)| !part.dead.contains(*position));
            order.extend(live.map(|(position, (owner, id))| (*owner, *id, p as u32, position as u32)));
        }
        order.sort_unstable();
        Self { parts, order }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Where the rows of a part are now, in their old order; [`DROPPED`] for those that died.
    pub(super) fn moved(&self, part: usize) -> Vec<u32> {
        let mut moved = vec![DROPPED; self.parts[part].len()];
        for (position, (_, _, of, at)) in self.order.iter().enumerate() {
            if *of as usize == part {
                moved[*at as usize] = position as u32;
            }
        }
        moved
    }

    pub(super) fn owner(&self, position: usize) -> u32 {
        self.order[position].0
    }

    pub(super) fn id(&self, position: usize) -> RowId {
        self.order[position].1
    }

    pub(super) fn vector<'b>(&'b self, position: usize, buffer: &'b mut Vec<f16>) -> &'b [f16] {
        let (_, _, part, at) = self.order[position];
        self.parts[part as usize].vector(at as usize, buffer)
    }
}

/// Counts and checks bytes as they go by.
struct Sections<W> {
    out: W,
    at: usize,
    done: Vec<Section>,
    hash: crc32fast::Hasher,
}

impl<W: Write> Sections<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.at += bytes.len();
        Ok(())
    }

    /// One section, of what `write` puts.
    fn section(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.hash = crc32fast::Hasher::new();
        let padding = self.at.next_multiple_of(ALIGN) - self.at;
        self.put(&[0; ALIGN][..padding])?;
        let offset = self.at;
        write(self)?;
        let crc32 = std::mem::take(&mut self.hash).finalize();
        self.done.push(Section { offset, bytes: self.at - offset, crc32 });
        Ok(())
    }
}

/// Writes a segment; `out` should be buffered.
pub(super) fn write(
    out: impl Write,
    model_version: &str,
    dimension: usize,
    rows: &Merged<'_>,
    grown: &Grown,
) -> io::Result<()> {
    let mut out = Sections { out, at: 0, done: Vec::new(), hash: crc32fast::Hasher::new() };
    out.put(MAGIC)?;
    out.section(|out| (0..rows.len()).try_for_each(|i| out.put(&rows.owner(i).to_le_bytes())))?;
    out.section(|out| (0..rows.len()).try_for_each(|i| out.put(&rows.id(i).to_le_bytes())))?;
    out.section(|out| out.put(bytemuck::cast_slice(grown.encoded.blocks())))?;
    for layer in &grown.layers {
        for numbers in [&layer.members, &layer.starts, &layer.edges] {
            out.section(|out| out.put(bytemuck::cast_slice(numbers)))?;
        }
    }
    out.section(|out| {
        let mut buffer = Vec::new();
        (0..rows.len()).try_for_each(|i| out.put(bytemuck::cast_slice(rows.vector(i, &mut buffer))))
    })?;
    let footer = Footer {
        format: FORMAT,
        model_version: model_version.to_owned(),
        dimension,
        rows: rows.len(),
        scale: grown.encoded.scale().to_bits(),
        entry: grown.entry,
        sections: std::mem::take(&mut out.done),
    };
    let footer = serde_json::to_vec(&footer)?;
    let length = u32::try_from(footer.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    out.put(&footer)?;
    out.put(&length.to_le_bytes())?;
    out.put(&crc32fast::hash(&footer).to_le_bytes())?;
    out.put(MAGIC)?;
    out.out.flush()
}

/// A segment's bytes.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// In blocks, for their alignment; and how many bytes of them count.
    Held(Vec<Block>, usize),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(blocks, length) => &bytemuck::cast_slice(blocks)[..*length],
        }
    }
}

/// Where vectors are read from.
#[derive(Debug)]
enum Vectors {
    /// Where the rest is.
    Beside,
    /// The file, a vector at a time.
    File(File),
}

/// A sealed segment.
#[derive(Debug)]
pub(super) struct Segment {
    bytes: Bytes,
    vectors: Vectors,
    footer: Footer,
    /// Its file, unless it is in memory only.
    path: Option<PathBuf>,
    /// CRC-32 of the footer, which holds those of all sections: names the content.
    checksum: u32,
}

impl Segment {
    /// A segment that is in memory only, from what [`write()`] made.
    pub(super) fn held(bytes: &[u8]) -> Result<Self, String> {
        let mut blocks = vec![Block([0; ALIGN]); bytes.len().div_ceil(ALIGN)];
        bytemuck::cast_slice_mut(&mut blocks)[..bytes.len()].copy_from_slice(bytes);
        Self::new(Bytes::Held(blocks, bytes.len()), Vectors::Beside, None)
    }

    /// The segment in a file. Vectors are read from it one by one where `on_disk`; otherwise all is mapped.
    pub(super) fn open(path: &Path, on_disk: bool) -> io::Result<Result<Self, String>> {
        let (file, map) = mapped(path)?;
        let vectors = if on_disk { Vectors::File(file) } else { Vectors::Beside };
        Ok(Self::new(Bytes::Mapped(map), vectors, Some(path.to_owned())))
    }

    fn new(bytes: Bytes, vectors: Vectors, path: Option<PathBuf>) -> Result<Self, String> {
        let (footer, checksum) = footer(bytes.get())?;
        let segment = Self { bytes, vectors, footer, path, checksum };
        segment.check()?;
        if let Bytes::Mapped(map) = &segment.bytes {
            let vectors = segment.section(segment.footer.sections.len() - 1);
            let mapped = if matches!(segment.vectors, Vectors::Beside) { map.len() } else { vectors.start };
            // Hints: that they are not taken costs time, nothing else.
            let _ = map.advise_range(Advice::Random, 0, map.len());
            let _ = map.advise_range(Advice::WillNeed, 0, mapped);
        }
        Ok(segment)
    }

    /// Holds every section against its checksum, and the numbers against each other, so that no search can step outside.
    fn check(&self) -> Result<(), String> {
        let bytes = self.bytes.get();
        let Footer { format, dimension, rows, sections, .. } = &self.footer;
        if *format != FORMAT {
            return Err(format!("its format is {format}, expected {FORMAT}"));
        }
        let layers = sections.len().checked_sub(LAYERS + 1).filter(|n| n % 3 == 0 && *n > 0);
        let layers = layers.ok_or("its sections are not those of a segment")? / 3;
        for section in sections {
            let fits = section.offset.checked_add(section.bytes).is_some_and(|end| end <= bytes.len());
            if !fits || section.offset % ALIGN != 0 {
                return Err("a section is outside of it".to_owned());
            }
        }
        let width = dimension.div_ceil(ALIGN);
        let expected = [4 * rows, 8 * rows, ALIGN * width * rows];
        let sized = sections.iter().zip(expected).all(|(section, bytes)| section.bytes == bytes);
        let vectors = sections.last().map_or(0, |section| section.bytes);
        let whole = sections[LAYERS..LAYERS + 3 * layers].iter().all(|section| section.bytes % 4 == 0);
        if !sized || !whole || vectors != 2 * dimension * rows {
            return Err("its sections are of other sizes than its rows".to_owned());
        }
        self.verify()?;
        let sorted = self.owners().iter().zip(self.ids()).is_sorted();
        if !sorted || !self.graph().is_sound(*rows) {
            return Err("its rows are out of order or its graph points nowhere".to_owned());
        }
        Ok(())
    }

    /// Holds every section against its checksum, on as many threads as there are. Vectors that stay on disk are read, not
    /// looked at where they are mapped: they would count as resident from then on.
    fn verify(&self) -> Result<(), String> {
        /// Bytes a thread takes at once.
        const PIECE: usize = 16 << 20;
        let bytes = self.bytes.get();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut end = MAGIC.len();
        for (at, section) in self.footer.sections.iter().enumerate() {
            let range = end..section.range().end;
            if range.end < range.start || range.end > bytes.len() {
                return Err("a section is outside of it".to_owned());
            }
            end = range.end;
            let file = match &self.vectors {
                Vectors::File(file) if at + 1 == self.footer.sections.len() => Some(file),
                _ => None,
            };
            let pieces: Vec<Range<usize>> =
                range.clone().step_by(PIECE).map(|start| start..(start + PIECE).min(range.end)).collect();
            let hashes = super::grow::shared(threads, &pieces, 2, |piece| {
                let mut hash = crc32fast::Hasher::new();
                match file {
                    Some(file) => {
                        let mut read = vec![0; piece.len()];
                        read_at(file, &mut read, piece.start as u64)?;
                        hash.update(&read);
                    }
                    None => hash.update(&bytes[piece.clone()]),
                }
                Ok::<_, io::Error>(hash)
            });
            let mut whole = crc32fast::Hasher::new();
            for hash in hashes {
                whole.combine(&hash.map_err(|error| error.to_string())?);
            }
            if whole.finalize() != section.crc32 {
                return Err("its checksum does not match".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// It has a new name.
    pub(super) fn set_path(&mut self, path: PathBuf) {
        self.path = Some(path);
    }

    pub(super) fn checksum(&self) -> u32 {
        self.checksum
    }

    pub(super) fn model_version(&self) -> &str {
        &self.footer.model_version
    }

    pub(super) fn dimension(&self) -> usize {
        self.footer.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.footer.rows
    }

    /// Bytes of all but vectors on disk.
    pub(super) fn bytes(&self) -> usize {
        match self.vectors {
            Vectors::Beside => self.bytes.get().len(),
            Vectors::File(_) => self.section(self.footer.sections.len() - 1).start,
        }
    }

    fn section(&self, at: usize) -> Range<usize> {
        self.footer.sections[at].range()
    }

    fn numbers(&self, at: usize) -> &[u32] {
        bytemuck::cast_slice(&self.bytes.get()[self.section(at)])
    }

    pub(super) fn owners(&self) -> &[u32] {
        self.numbers(OWNERS)
    }

    pub(super) fn ids(&self) -> &[RowId] {
        bytemuck::cast_slice(&self.bytes.get()[self.section(IDS)])
    }

    /// Positions of a slot's rows, live or dead.
    pub(super) fn rows_of(&self, slot: u32) -> Range<usize> {
        let owners = self.owners();
        let start = owners.partition_point(|owner| *owner < slot);
        let count = owners[start..].iter().take_while(|owner| **owner == slot).count();
        start..start + count
    }

    /// The graph over the rows, to be searched.
    pub(super) fn graph(&self) -> Graph<'_> {
        let layers = (LAYERS..self.footer.sections.len() - 1).step_by(3);
        let layer = |at| Layer { members: self.numbers(at), starts: self.numbers(at + 1), edges: self.numbers(at + 2) };
        Graph { layers: layers.map(layer).collect(), entry: self.footer.entry, codes: self.codes() }
    }

    pub(super) fn codes(&self) -> Codes<'_> {
        let blocks = bytemuck::cast_slice(&self.bytes.get()[self.section(CODES)]);
        Codes::new(f32::from_bits(self.footer.scale), self.footer.dimension, blocks)
    }

    /// Brings into the cache what a hit at `position` will need, without waiting for it.
    pub(super) fn fetch(&self, position: usize) {
        kernel::fetch(&self.owners()[position..=position]);
        kernel::fetch(&self.ids()[position..=position]);
        if matches!(self.vectors, Vectors::Beside) {
            let all = &self.bytes.get()[self.section(self.footer.sections.len() - 1)];
            let bytes = self.footer.dimension * size_of::<f16>();
            kernel::fetch(&all[position * bytes..(position + 1) * bytes]);
        }
    }

    /// The vector at `position`; `buffer` is where it is put if it must be read.
    pub(super) fn vector<'a>(&'a self, position: usize, buffer: &'a mut Vec<f16>) -> &'a [f16] {
        let dimension = self.footer.dimension;
        let all = self.section(self.footer.sections.len() - 1);
        let start = all.start + position * dimension * size_of::<f16>();
        let range = start..start + dimension * size_of::<f16>();
        let Vectors::File(file) = &self.vectors else {
            return bytemuck::cast_slice(&self.bytes.get()[range]);
        };
        buffer.clear();
        buffer.resize(dimension, f16::ZERO);
        if let Err(error) = read_at(file, bytemuck::cast_slice_mut(buffer), range.start as u64) {
            // The code says about the same, and a search goes on.
            tracing::error!(path = ?self.path, %error, "a vector could not be read");
            self.codes().decode(position as u32, buffer);
        }
        buffer
    }
}

/// A file of the index as bytes.
pub(super) fn mapped(path: &Path) -> io::Result<(File, Mmap)> {
    let file = File::open(path)?;
    // SAFETY: the data directory is locked by one process, which never writes to a file once it has its name. One that someone
    // else cuts while it is mapped ends the process, as with any database that maps its files.
    let map = unsafe { Mmap::map(&file)? };
    Ok((file, map))
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    // A cursor of its own: searches read side by side.
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

/// The footer, and its checksum.
fn footer(bytes: &[u8]) -> Result<(Footer, u32), String> {
    let short = || "it is shorter than a segment".to_owned();
    let body = bytes.len().checked_sub(TRAILER).filter(|body| *body >= MAGIC.len()).ok_or_else(short)?;
    let (body, trailer) = bytes.split_at(body);
    let number = |at: usize| u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]]);
    if !body.starts_with(MAGIC) || !trailer.ends_with(MAGIC) {
        return Err("it does not begin and end as a segment".to_owned());
    }
    let (length, checksum) = (number(0) as usize, number(4));
    let start = body.len().checked_sub(length).ok_or_else(short)?;
    let footer = &body[start..];
    if crc32fast::hash(footer) != checksum {
        return Err("the checksum of its footer does not match".to_owned());
    }
    let footer = serde_json::from_slice(footer).map_err(|error| format!("its footer is broken: {error}"))?;
    Ok((footer, checksum))
}
