//! Everything that can be wrong with a photo, one variant a fault.
//! Variants carry what was expected and what was received, so that an answer can name the limit that was hit.

use super::{Format, PixelBox};
use thiserror::Error;

/// Why bytes did not become a [`super::Photo`].
///
/// Every variant is the sender's fault and stays wrong when sent again, except [`PhotoError::DecoderPanicked`] and
/// [`PhotoError::Encode`], which are ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// No bytes at all.
    #[error("the photo is empty: 0 bytes received")]
    Empty,
    /// More bytes than [`super::Limits::body_bytes`].
    #[error("the photo has {received} bytes; the limit is {limit}")]
    TooManyBytes {
        /// Most bytes accepted.
        limit: usize,
        /// Bytes received.
        received: usize,
    },
    /// The bytes are no image of any kind we know by name.
    #[error("not an image: the bytes look like {received}; send JPEG, PNG, WebP, AVIF, GIF or BMP")]
    NotAnImage {
        /// What the bytes look like: "text", "html", or their first four in hex.
        received: String,
    },
    /// An image (or document) of a kind we know and do not decode.
    #[error("{received} is not supported; send JPEG, PNG, WebP, AVIF, GIF or BMP")]
    UnsupportedFormat {
        /// Its name, such as "heic".
        received: &'static str,
    },
    /// A supported container that uses something no decoder of ours can do, such as arithmetic coding.
    #[error("this kind of {format} is not supported: {detail}")]
    UnsupportedFeature {
        /// The container.
        format: Format,
        /// What the decoder said.
        detail: String,
    },
    /// The file ends before its own structure says it should.
    #[error("the {format} is truncated: {expected}, but the file ends after {received} bytes")]
    Truncated {
        /// The container.
        format: Format,
        /// What should have followed.
        expected: String,
        /// Bytes received.
        received: usize,
    },
    /// The file breaks the rules of its own format.
    #[error("the {format} is damaged: {detail}")]
    Malformed {
        /// The container.
        format: Format,
        /// What is wrong.
        detail: String,
    },
    /// The container declares one size and the picture inside has another.
    #[error(
        "the {format} declares {}x{} pixels but holds a picture of {}x{}",
        declared.0, declared.1, found.0, found.1
    )]
    SizeMismatch {
        /// The container.
        format: Format,
        /// Width and height the container declares.
        declared: (u32, u32),
        /// Width and height of the picture inside.
        found: (u32, u32),
    },
    /// More pixels than [`super::Limits::pixels`].
    #[error("the photo has {width}x{height} pixels; the limit is {limit} pixels")]
    TooManyPixels {
        /// Most pixels accepted.
        limit: u64,
        /// Width the header declares.
        width: u32,
        /// Height the header declares.
        height: u32,
    },
    /// A side longer than [`super::Limits::side`].
    #[error("the photo is {width}x{height} pixels; the longest side accepted is {limit}")]
    SideTooLong {
        /// Longest side accepted.
        limit: u32,
        /// Width the header declares.
        width: u32,
        /// Height the header declares.
        height: u32,
    },
    /// A side shorter than [`super::Limits::min_side`].
    #[error("the photo is {width}x{height} pixels; the shortest side accepted is {limit}")]
    TooSmall {
        /// Shortest side accepted.
        limit: u32,
        /// Width the header declares.
        width: u32,
        /// Height the header declares.
        height: u32,
    },
    /// More frames than [`super::Limits::frames`].
    #[error("the animation has {received} frames; the limit is {limit}")]
    TooManyFrames {
        /// Most frames accepted.
        limit: u32,
        /// Frames in the container.
        received: u32,
    },
    /// Decoding would take more memory than [`super::Limits::decode_bytes`].
    #[error("decoding needs {needed} bytes of memory; the limit is {limit}")]
    TooMuchMemory {
        /// Most bytes a decode may take.
        limit: u64,
        /// Bytes this one would take.
        needed: u64,
    },
    /// The box is empty, inside out, or leaves the photo.
    #[error("the box {received} does not lie inside the photo of {width}x{height} pixels")]
    BoxOutside {
        /// The box as received.
        received: PixelBox,
        /// Width of the photo, upright.
        width: u32,
        /// Height of the photo, upright.
        height: u32,
    },
    /// The box is inside the photo but too small to see anything in.
    #[error(
        "the box {received} is {}x{} pixels of a photo of {width}x{height}; \
         the shortest side accepted is {limit}", received.width(), received.height()
    )]
    BoxTooSmall {
        /// The box as received.
        received: PixelBox,
        /// Shortest side accepted.
        limit: u32,
        /// Width of the photo, upright.
        width: u32,
        /// Height of the photo, upright.
        height: u32,
    },
    /// A decoder panicked: a bug of the decoder, contained.
    #[error("the {format} decoder failed on this file")]
    DecoderPanicked {
        /// The container.
        format: Format,
    },
    /// A thumbnail could not be written.
    #[error("the thumbnail could not be written: {detail}")]
    Encode {
        /// What the encoder said.
        detail: String,
    },
}
