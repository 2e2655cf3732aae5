//! What the bytes are, told from the bytes alone.
//! A content type or a file name is never trusted: both lie often, and sniffing costs nothing.

use super::PhotoError;
use std::fmt;

/// What the bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG; of an APNG the default image.
    Png,
    /// WebP, lossy or lossless; of an animation the first frame.
    WebP,
    /// GIF, its first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// AVIF, its primary item.
    Avif,
}

impl Format {
    /// Media type, for `Content-Type`.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Avif => "image/avif",
        }
    }

    /// File name extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Avif => "avif",
        }
    }

    /// Tells the format from the first bytes.
    ///
    /// # Errors
    /// [`PhotoError::Empty`], [`PhotoError::UnsupportedFormat`] for a kind known by name, else
    /// [`PhotoError::NotAnImage`].
    pub fn sniff(bytes: &[u8]) -> Result<Self, PhotoError> {
        match bytes {
            [] => Err(PhotoError::Empty),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            // "BM" alone begins too many texts: the size of the info header (12 to 124) has to fit as well.
            [b'B', b'M', rest @ ..] if matches!(rest.get(12..16), Some([12..=124, 0, 0, 0])) => Ok(Self::Bmp),
            _ if iso_media(bytes) == Some("avif") => Ok(Self::Avif),
            _ => Err(refusal(bytes)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Avif => "AVIF",
        })
    }
}

/// Kinds that are refused by name, by the bytes they begin with.
const REFUSED: &[(&[u8], &str)] = &[
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"%PDF", "pdf"),
    (b"%!PS", "postscript"),
    (b"8BPS", "psd"),
    (b"\0\0\x01\0", "ico"),
    (b"\0\0\x02\0", "cur"),
    (b"\xff\x0a", "jpeg xl"),
    (b"\0\0\0\x0cJXL ", "jpeg xl"),
    (b"\0\0\0\x0cjP  ", "jpeg 2000"),
    (b"\xff\x4f\xff\x51", "jpeg 2000"),
    (b"qoif", "qoi"),
    (b"DDS ", "dds"),
    (b"farbfeld", "farbfeld"),
    (b"#?RADIANCE", "radiance hdr"),
    (b"\x76\x2f\x31\x01", "openexr"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1a\x45\xdf\xa3", "matroska video"),
];

fn refusal(bytes: &[u8]) -> PhotoError {
    let named = REFUSED.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, name)| name);
    if let Some(received) = named.or_else(|| iso_media(bytes)) {
        return PhotoError::UnsupportedFormat { received };
    }
    let head = &bytes[..bytes.len().min(1024)];
    // A cut through a multi-byte character leaves an error without a length: still text.
    let text = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
    .filter(|text| !text.is_empty() && !text.contains('\0'));
    match text.map(|text| text.trim_start_matches('\u{feff}').trim_start()) {
        Some(text) if text.contains("<svg") => PhotoError::UnsupportedFormat { received: "svg" },
        Some(text) if text.starts_with('<') => not_an_image("html or xml"),
        Some(text) if text.starts_with(['{', '[']) => not_an_image("json"),
        Some(_) => not_an_image("text"),
        None => not_an_image(&format!("unknown data beginning {}", hex::encode(&bytes[..bytes.len().min(4)]))),
    }
}

fn not_an_image(received: &str) -> PhotoError {
    PhotoError::NotAnImage { received: received.to_owned() }
}

/// ISO base media files (ISO/IEC 14496-12) say what they are in the brand of their `ftyp` box.
fn iso_media(bytes: &[u8]) -> Option<&'static str> {
    let brand = match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => brand.get(..4)?,
        _ => return None,
    };
    // Writers may put HEIF's general brand first and AVIF's among the compatible ones, in the rest of the box.
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let compatible = bytes.get(16..length.min(bytes.len())).unwrap_or_default();
    let general = matches!(brand, b"mif1" | b"msf1");
    Some(match brand {
        b"avif" | b"avis" => "avif",
        _ if general && compatible.as_chunks::<4>().0.contains(b"avif") => "avif",
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => "heic",
        b"crx " => "raw photo",
        _ => "video",
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_kinds_are_refused_by_name() {
        let cases: [(&[u8], &str); 7] = [
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "heic"),
            (b"\0\0\0\x18ftypmp42", "video"),
            (b"II*\0\x08\0\0\0", "tiff"),
            (b"%PDF-1.7", "pdf"),
            (b"\0\0\x01\0\x01\0", "ico"),
            (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "svg"),
        ];
        for (bytes, received) in cases {
            let expected = PhotoError::UnsupportedFormat { received };
            assert_eq!(Format::sniff(bytes).unwrap_err(), expected);
        }
        assert_eq!(
            Format::sniff(b"\0\0\0\x20ftypheic").unwrap_err().to_string(),
            "heic is not supported; send JPEG, PNG, WebP, AVIF, GIF or BMP"
        );
        assert_eq!(Format::sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif").unwrap(), Format::Avif);
    }

    #[test]
    fn what_is_no_image_says_what_it_looks_like() {
        let cases: [(&[u8], &str); 6] = [
            (b"hello, this is not a photo", "text"),
            (b"BMW is a car maker, not a bitmap", "text"),
            (b"<!doctype html><html>", "html or xml"),
            (b" {\"error\": 1}", "json"),
            (b"\xff\xd8", "unknown data beginning ffd8"),
            (b"\0\x01", "unknown data beginning 0001"),
        ];
        for (bytes, looks) in cases {
            assert_eq!(Format::sniff(bytes).unwrap_err(), not_an_image(looks));
        }
        assert_eq!(Format::sniff(b"").unwrap_err(), PhotoError::Empty);
    }
}
