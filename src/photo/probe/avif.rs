//! Walks the boxes of an AVIF (ISO/IEC 23008-12 HEIF, and AOM's AVIF 1.1): which items are color and alpha, where
//! their bytes lie, their sizes, turns and profiles. The bytes themselves are `super::super::avif`'s.

use super::{Cursor, Header};
use crate::photo::avif::Cicp;
use crate::photo::{Format, PhotoError};
use image::metadata::Orientation;

/// Items of a file at most; a photo has two or three (color, alpha, EXIF), a grid some hundreds.
const MAX_ITEMS: usize = 1024;
/// Peak bytes a pixel of decoding color, and alpha after it: three planes of two bytes, whatever the container says of
/// them; here and in the decoder, which was measured to take 1.1 to 1.4 times its planes (20 MP, 8 and 10 bits).
const PEAK: u64 = 6 + 9;
/// What an alpha item says that it is (ISO/IEC 23008-12, 6.5.8 with the URN of MIAF).
const ALPHA: &[u8] = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha";

/// The photo inside.
pub(in crate::photo) struct Container<'a> {
    pub(in crate::photo) color: Item<'a>,
    pub(in crate::photo) alpha: Option<Item<'a>>,
    /// Color was multiplied by alpha.
    pub(in crate::photo) premultiplied: bool,
    pub(in crate::photo) orientation: Orientation,
    pub(in crate::photo) icc: Option<&'a [u8]>,
    pub(in crate::photo) cicp: Option<Cicp>,
}

/// A coded picture: an AV1 bit stream in pieces.
pub(in crate::photo) struct Item<'a> {
    pub(in crate::photo) width: u32,
    pub(in crate::photo) height: u32,
    pub(in crate::photo) extents: Vec<&'a [u8]>,
}

pub(super) fn probe(bytes: &[u8]) -> Result<Header, PhotoError> {
    let Container { color, alpha, .. } = container(bytes)?;
    if let Some(alpha) = &alpha
        && (alpha.width, alpha.height) != (color.width, color.height)
    {
        let (declared, found) = ((color.width, color.height), (alpha.width, alpha.height));
        return Err(PhotoError::SizeMismatch { format: Format::Avif, declared, found });
    }
    Ok(Header::new(Format::Avif, color.width, color.height, PEAK))
}

/// Reads the structure of the file.
///
/// # Errors
/// [`PhotoError::Truncated`], [`PhotoError::Malformed`], [`PhotoError::UnsupportedFeature`].
pub(in crate::photo) fn container(bytes: &[u8]) -> Result<Container<'_>, PhotoError> {
    let mut file = Cursor::new(Format::Avif, bytes, 0);
    let mut meta = None;
    while !file.at_end() {
        let (kind, data) = next_box(&mut file, bytes.len())?;
        if &kind == b"meta" && meta.is_none() {
            meta = Some(data);
        }
    }
    let meta = meta.ok_or_else(|| file.truncated("a meta box should follow"))?;
    Meta::read(meta)?.container(bytes)
}

/// Kind and content of a box.
type Boxed<'a> = ([u8; 4], &'a [u8]);

/// The next box: its kind and content. A box of length 0 goes to the end.
fn next_box<'a>(cursor: &mut Cursor<'a>, end: usize) -> Result<Boxed<'a>, PhotoError> {
    let start = cursor.at;
    let short = u32::from_be_bytes(cursor.array("a box")?);
    let kind: [u8; 4] = cursor.array("a box")?;
    let length = match short {
        0 => end - start,
        1 => usize::try_from(u64::from_be_bytes(cursor.array("the length of a box")?)).unwrap_or(usize::MAX),
        _ => short as usize,
    };
    let Some(rest) = length.checked_sub(cursor.at - start) else {
        return Err(cursor.malformed("a box is shorter than its own head"));
    };
    let data = cursor.take(rest, &format!("a box {} of {length} bytes", kind.escape_ascii()))?;
    Ok((kind, data))
}

/// A reader inside of a box: what runs over its end is damage, not a cut file.
struct Reader<'a>(Cursor<'a>);

impl<'a> Reader<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self(Cursor::new(Format::Avif, data, 0))
    }

    fn boxes(data: &'a [u8]) -> Result<Vec<Boxed<'a>>, PhotoError> {
        let mut cursor = Cursor::new(Format::Avif, data, 0);
        let mut boxes = Vec::new();
        while !cursor.at_end() {
            if boxes.len() == MAX_ITEMS {
                return Err(damaged("too many boxes"));
            }
            boxes.push(
                next_box(&mut cursor, data.len()).map_err(|_| damaged("a box is longer than the one around it"))?,
            );
        }
        Ok(boxes)
    }

    fn rest(&self) -> &'a [u8] {
        self.0.bytes.get(self.0.at..).unwrap_or_default()
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], PhotoError> {
        self.0.take(count, "").map_err(|_| damaged("a box ends early"))
    }

    /// A big-endian number of `size` bytes, 0 to 8; of 0 bytes it is 0.
    fn number(&mut self, size: usize) -> Result<u64, PhotoError> {
        Ok(self.bytes(size)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn u16(&mut self) -> Result<u16, PhotoError> {
        Ok(self.number(2)? as u16)
    }

    /// Version and flags of a full box.
    fn version(&mut self) -> Result<(u8, u32), PhotoError> {
        let word = self.number(4)? as u32;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }
}

fn damaged(detail: &str) -> PhotoError {
    PhotoError::Malformed { format: Format::Avif, detail: detail.to_owned() }
}

fn unsupported(detail: &str) -> PhotoError {
    PhotoError::UnsupportedFeature { format: Format::Avif, detail: detail.to_owned() }
}

/// The parts of a `meta` box that matter, not joined yet.
#[derive(Default)]
struct Meta<'a> {
    primary: Option<u32>,
    /// Item and its type.
    items: Vec<(u32, [u8; 4])>,
    locations: Vec<Location>,
    properties: Vec<Boxed<'a>>,
    /// Item and the index (from 1) of a property of it, in order.
    associations: Vec<(u32, usize)>,
    /// Kind, from, to.
    references: Vec<([u8; 4], u32, u32)>,
    idat: &'a [u8],
}

struct Location {
    item: u32,
    /// 0: offsets in the file; 1: in `idat`.
    method: u64,
    /// Offset and length; a length of 0 goes to the end.
    extents: Vec<(u64, u64)>,
}

impl<'a> Meta<'a> {
    fn read(data: &'a [u8]) -> Result<Self, PhotoError> {
        let mut reader = Reader::new(data);
        reader.version()?;
        let mut meta = Self::default();
        for (kind, data) in Reader::boxes(reader.rest())? {
            match &kind {
                b"pitm" => meta.primary = Some(primary(data)?),
                b"iinf" => meta.items = items(data)?,
                b"iloc" => meta.locations = locations(data)?,
                b"iref" => meta.references = references(data)?,
                b"idat" => meta.idat = data,
                b"iprp" => meta.read_properties(data)?,
                _ => {}
            }
        }
        Ok(meta)
    }

    fn read_properties(&mut self, data: &'a [u8]) -> Result<(), PhotoError> {
        for (kind, data) in Reader::boxes(data)? {
            match &kind {
                b"ipco" => self.properties = Reader::boxes(data)?,
                b"ipma" if self.associations.is_empty() => self.associations = associations(data)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Properties of an item by their box, in order.
    fn of(&self, item: u32) -> impl Iterator<Item = (&[u8; 4], &'a [u8])> {
        let indices = self.associations.iter().filter(move |(of, _)| *of == item);
        indices.filter_map(|(_, index)| self.properties.get(index.checked_sub(1)?)).map(|(kind, data)| (kind, *data))
    }

    fn container(&self, bytes: &'a [u8]) -> Result<Container<'a>, PhotoError> {
        let primary = self.primary.ok_or_else(|| unsupported("an image sequence without a still"))?;
        let color = self.item(primary, bytes)?;
        let is_alpha = |item: u32| self.of(item).any(|(kind, data)| kind == b"auxC" && is_alpha(data));
        let auxiliaries = self.references.iter().filter(|(kind, _, to)| kind == b"auxl" && *to == primary);
        let alpha = auxiliaries.map(|(_, from, _)| *from).find(|&item| is_alpha(item));
        let (mut icc, mut cicp, mut turn, mut mirror) = (None, None, 0, None);
        for (kind, data) in self.of(primary) {
            match (kind, data) {
                (b"colr", [b'p', b'r', b'o', b'f', profile @ ..] | [b'r', b'I', b'C', b'C', profile @ ..]) => {
                    icc = Some(profile);
                }
                (b"colr", [b'n', b'c', b'l', b'x', p1, p0, t1, t0, m1, m0, range, ..]) => {
                    let code = |high: u8, low: u8| u16::from_be_bytes([high, low]);
                    let (primaries, transfer, matrix) = (code(*p1, *p0), code(*t1, *t0), code(*m1, *m0));
                    cicp = Some(Cicp { primaries, transfer, matrix, full_range: range & 0x80 != 0 });
                }
                (b"irot", [angle, ..]) => turn = angle & 3,
                (b"imir", [axis, ..]) => mirror = Some(axis & 1),
                (b"clap", _) => return Err(unsupported("a crop (clap)")),
                _ => {}
            }
        }
        let premultiplied =
            self.references.iter().any(|&(kind, from, to)| &kind == b"prem" && from == primary && alpha == Some(to));
        Ok(Container {
            color,
            alpha: alpha.map(|item| self.item(item, bytes)).transpose()?,
            premultiplied,
            orientation: orientation(turn, mirror),
            icc,
            cicp,
        })
    }

    fn item(&self, item: u32, bytes: &'a [u8]) -> Result<Item<'a>, PhotoError> {
        match self.items.iter().find(|(id, _)| *id == item).map(|(_, kind)| kind) {
            Some(b"av01") => {}
            Some(b"grid") => return Err(unsupported("a grid of tiles")),
            Some(kind) => return Err(unsupported(&format!("a picture of kind {}", kind.escape_ascii()))),
            None => return Err(damaged("it refers to a picture that is not there")),
        }
        let size = self.of(item).find_map(|(kind, data)| match (kind, data) {
            (b"ispe", [_, _, _, _, w3, w2, w1, w0, h3, h2, h1, h0, ..]) => {
                Some((u32::from_be_bytes([*w3, *w2, *w1, *w0]), u32::from_be_bytes([*h3, *h2, *h1, *h0])))
            }
            _ => None,
        });
        let (width, height) = size.ok_or_else(|| damaged("it does not say how large it is"))?;
        Ok(Item { width, height, extents: self.extents(item, bytes)? })
    }

    fn extents(&self, item: u32, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, PhotoError> {
        let location = self.locations.iter().find(|location| location.item == item);
        let location = location.ok_or_else(|| damaged("it does not say where its picture is"))?;
        let from = match location.method {
            0 => bytes,
            1 => self.idat,
            _ => return Err(unsupported("a picture made of another item's bytes")),
        };
        let pieces = location.extents.iter().map(|&(offset, length)| slice(from, offset, length, location.method == 0));
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        // Pieces that overlap could say the same bytes a thousand times.
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() > from.len() {
            return Err(damaged("pieces of its picture overlap"));
        }
        Ok(pieces)
    }
}

fn slice(from: &[u8], offset: u64, length: u64, in_file: bool) -> Result<&[u8], PhotoError> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let end = if length == 0 { from.len() } else { start.saturating_add(length) };
    from.get(start..end).ok_or_else(|| {
        if in_file {
            let expected = format!("its picture lies at bytes {start} to {end}");
            PhotoError::Truncated { format: Format::Avif, expected, received: from.len() }
        } else {
            damaged("its picture lies outside of its data")
        }
    })
}

/// `irot` turns by quarters against the clock, then `imir` mirrors: 0 top to bottom, 1 left to right.
fn orientation(turn: u8, mirror: Option<u8>) -> Orientation {
    match (turn, mirror) {
        (0, None) => Orientation::NoTransforms,
        (0, Some(0)) | (2, Some(1)) => Orientation::FlipVertical,
        (0, Some(_)) | (2, Some(_)) => Orientation::FlipHorizontal,
        (1, None) => Orientation::Rotate270,
        (1, Some(0)) | (3, Some(1)) => Orientation::Rotate90FlipH,
        (1, Some(_)) | (3, Some(_)) => Orientation::Rotate270FlipH,
        (2, None) => Orientation::Rotate180,
        _ => Orientation::Rotate90,
    }
}

fn is_alpha(aux: &[u8]) -> bool {
    aux.get(4..).and_then(|urn| urn.strip_prefix(ALPHA)).is_some_and(|rest| matches!(rest, [] | [0, ..]))
}

fn primary(data: &[u8]) -> Result<u32, PhotoError> {
    let mut reader = Reader::new(data);
    let (version, _) = reader.version()?;
    Ok(reader.number(if version == 0 { 2 } else { 4 })? as u32)
}

fn items(data: &[u8]) -> Result<Vec<(u32, [u8; 4])>, PhotoError> {
    let mut reader = Reader::new(data);
    let (version, _) = reader.version()?;
    reader.number(if version == 0 { 2 } else { 4 })?;
    let mut items = Vec::new();
    for (kind, data) in Reader::boxes(reader.rest())? {
        let mut entry = Reader::new(data);
        let (version, _) = entry.version()?;
        if &kind != b"infe" || version < 2 {
            continue;
        }
        let item = entry.number(if version == 2 { 2 } else { 4 })? as u32;
        entry.number(2)?;
        let mut kind = [0; 4];
        kind.copy_from_slice(entry.bytes(4)?);
        items.push((item, kind));
    }
    Ok(items)
}

fn locations(data: &[u8]) -> Result<Vec<Location>, PhotoError> {
    let mut reader = Reader::new(data);
    let (version, _) = reader.version()?;
    let sizes = reader.u16()?;
    let size = |shift: u16| usize::from(sizes >> shift & 15);
    let (offset, length, base) = (size(12), size(8), size(4));
    let index = if version == 0 { 0 } else { size(0) };
    if [offset, length, base, index].iter().any(|&size| size > 8) {
        return Err(damaged("numbers of more than 8 bytes"));
    }
    let id = if version < 2 { 2 } else { 4 };
    let count = reader.number(id)?;
    let mut locations = Vec::new();
    let mut extents_left = MAX_ITEMS;
    for _ in 0..count {
        let item = reader.number(id)? as u32;
        let method = if version == 0 { 0 } else { reader.number(2)? & 15 };
        reader.number(2)?;
        let base = reader.number(base)?;
        let mut extents = Vec::new();
        for _ in 0..reader.u16()? {
            extents_left = extents_left.checked_sub(1).ok_or_else(|| damaged("too many pieces"))?;
            reader.number(index)?;
            let at = base.checked_add(reader.number(offset)?).ok_or_else(|| damaged("an offset overflows"))?;
            extents.push((at, reader.number(length)?));
        }
        if locations.len() == MAX_ITEMS {
            return Err(damaged("too many items"));
        }
        locations.push(Location { item, method, extents });
    }
    Ok(locations)
}

fn references(data: &[u8]) -> Result<Vec<([u8; 4], u32, u32)>, PhotoError> {
    let mut reader = Reader::new(data);
    let (version, _) = reader.version()?;
    let id = if version == 0 { 2 } else { 4 };
    let mut references = Vec::new();
    for (kind, data) in Reader::boxes(reader.rest())? {
        let mut entry = Reader::new(data);
        let from = entry.number(id)? as u32;
        for _ in 0..entry.u16()? {
            if references.len() == MAX_ITEMS {
                return Err(damaged("too many references"));
            }
            references.push((kind, from, entry.number(id)? as u32));
        }
    }
    Ok(references)
}

fn associations(data: &[u8]) -> Result<Vec<(u32, usize)>, PhotoError> {
    let mut reader = Reader::new(data);
    let (version, flags) = reader.version()?;
    let mut found = Vec::new();
    for _ in 0..reader.number(4)? {
        let item = reader.number(if version == 0 { 2 } else { 4 })? as u32;
        for _ in 0..reader.number(1)? {
            // The top bit says that the property must be understood.
            let index = if flags & 1 == 0 { reader.number(1)? & 0x7f } else { reader.number(2)? & 0x7fff };
            if found.len() == MAX_ITEMS {
                return Err(damaged("too many properties"));
            }
            found.push((item, index as usize));
        }
    }
    Ok(found)
}
