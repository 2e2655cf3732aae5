//! AV1 by `re_rav1d` (dav1d ported to Rust), in a process of its own.
//!
//! Of the decoders there are, dav1d and libaom are C and need meson or cmake, `rav1d-safe` is AGPL, `rav1d` has no
//! Rust interface. All entry points of `re_rav1d` are `extern "C"`: a panic inside cannot be caught and ends the
//! process, and 255 bytes can make it panic (an empty T.35 unit; 6,300 files with random damage did not find one). So
//! the program decodes in a child that may die of it (`crate::child`): called with [`CHILD_COMMAND`], it has to run [`child`].

use super::coded::{Cicp, Coded, Layout};
use crate::photo::decode::contained;
use crate::photo::{Format, PhotoError};
use re_rav1d::dav1d::pixel::{ColorPrimaries, MatrixCoefficients, TransferCharacteristic, YUVRange};
use re_rav1d::dav1d::{Decoder, Error, Picture, PixelLayout, PlanarImageComponent as Component, Settings};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// What a child is called with.
pub const CHILD_COMMAND: &str = "decode-av1";
/// Time for one picture; 50 megapixels take about a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// The child's part: one stream from `input`, its picture to `output`.
///
/// # Errors
/// When a pipe breaks or the stream cannot be decoded; the parent sees that no picture came.
pub fn child(mut input: impl Read, output: impl Write) -> io::Result<()> {
    let mut head = [0; 8];
    input.read_exact(&mut head)?;
    let [w0, w1, w2, w3, h0, h1, h2, h3] = head;
    let size = (u32::from_le_bytes([w0, w1, w2, w3]), u32::from_le_bytes([h0, h1, h2, h3]));
    let mut stream = Vec::new();
    input.read_to_end(&mut stream)?;
    in_place(stream, size).map_err(io::Error::other)?.write(output)
}

/// Decodes the one picture in `stream`, which has to be of `size`.
///
/// # Errors
/// [`PhotoError::Malformed`], [`PhotoError::SizeMismatch`], [`PhotoError::UnsupportedFeature`].
pub(super) fn decode(stream: Vec<u8>, size: (u32, u32)) -> Result<Coded, PhotoError> {
    match crate::child::command(CHILD_COMMAND) {
        Some(mut command) => in_child(&mut command, &stream, size),
        None => in_place(stream, size),
    }
}

fn in_child(command: &mut Command, stream: &[u8], size: (u32, u32)) -> Result<Coded, PhotoError> {
    let failed = |error: io::Error| {
        tracing::warn!(%error, "no process to decode AV1 in");
        damaged("it could not be decoded")
    };
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().map_err(failed)?;
    let (Some(mut input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
        return Err(failed(io::ErrorKind::BrokenPipe.into()));
    };
    let (done, wait) = channel::<()>();
    let answer = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Dropped at the end, so that the child sees it. A child that died already says so by its answer.
            let head = [size.0.to_le_bytes(), size.1.to_le_bytes()].concat();
            let _ = input.write_all(&head).and_then(|()| input.write_all(stream));
        });
        scope.spawn(move || {
            // A child that hangs is ended, which ends the reading below.
            let late = wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            if late {
                tracing::warn!("AV1 took too long");
            }
            let _ = process.kill();
            let _ = process.wait();
        });
        let answer = Coded::read(output, size);
        drop(done);
        answer
    });
    match answer {
        Ok(Ok(coded)) => Ok(coded),
        Ok(Err(found)) => Err(PhotoError::SizeMismatch { format: Format::Avif, declared: size, found }),
        Err(_) => Err(damaged("its AV1 stream cannot be decoded")),
    }
}

/// Decodes on this thread.
fn in_place(stream: Vec<u8>, size: (u32, u32)) -> Result<Coded, PhotoError> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_frame_size_limit(size.0.saturating_mul(size.1));
    let mut decoder = Decoder::with_settings(&settings).map_err(fault)?;
    match decoder.send_data(stream, None, None, None) {
        Err(error) if !error.is_again() => return Err(fault(error)),
        _ => {}
    }
    // One frame went in, so one comes out at once or never.
    let picture = decoder.get_picture().map_err(fault)?;
    let found = (picture.width(), picture.height());
    if size != found {
        return Err(PhotoError::SizeMismatch { format: Format::Avif, declared: size, found });
    }
    Ok(coded(&picture))
}

fn coded(picture: &Picture) -> Coded {
    let layout = match picture.pixel_layout() {
        PixelLayout::I400 => Layout::Mono,
        PixelLayout::I420 => Layout::Half,
        PixelLayout::I422 => Layout::HalfAcross,
        PixelLayout::I444 => Layout::Full,
    };
    let depth = picture.bits_per_component().map_or(8, |bits| bits.0 as u8);
    let (width, height) = (picture.width(), picture.height());
    let sizes = Coded::sizes(width, height, layout);
    let planes = sizes.iter().zip([Component::Y, Component::U, Component::V]);
    let planes = planes.map(|(&(across, down), component)| {
        let (plane, stride) = (picture.plane(component), picture.stride(component) as usize);
        let row = across * Coded::sample_bytes(depth);
        let mut rows = Vec::with_capacity(row * down);
        for y in 0..down {
            rows.extend_from_slice(plane.as_ref().get(y * stride..y * stride + row).unwrap_or_default());
        }
        // Short only if the decoder breaks its word; black then.
        rows.resize(row * down, 0);
        rows
    });
    Coded { width, height, layout, depth, cicp: cicp(picture), planes: planes.collect() }
}

/// The code points of the stream; only those that are told apart later. Getters of re_rav1d 0.1.3 panic on reserved code points
/// (for primaries 0, 3, 13 to 21), which the standard wants read as unspecified.
fn cicp(picture: &Picture) -> Cicp {
    Cicp {
        primaries: match contained(|| picture.color_primaries()) {
            Some(ColorPrimaries::BT2020) => 9,
            Some(ColorPrimaries::P3Display) => 12,
            _ => 1,
        },
        transfer: match contained(|| picture.transfer_characteristic()) {
            Some(TransferCharacteristic::PerceptualQuantizer) => 16,
            Some(TransferCharacteristic::HybridLogGamma) => 18,
            _ => 13,
        },
        matrix: match contained(|| picture.matrix_coefficients()).unwrap_or(MatrixCoefficients::Unspecified) {
            MatrixCoefficients::Identity => 0,
            MatrixCoefficients::BT709 => 1,
            MatrixCoefficients::BT470M => 4,
            MatrixCoefficients::ST240M => 7,
            MatrixCoefficients::BT2020NonConstantLuminance => 9,
            MatrixCoefficients::Unspecified | MatrixCoefficients::BT470BG | MatrixCoefficients::ST170M => 6,
            _ => 255,
        },
        full_range: matches!(picture.color_range(), YUVRange::Full),
    }
}

fn fault(error: Error) -> PhotoError {
    match error {
        Error::UnsupportedBitstream => {
            PhotoError::UnsupportedFeature { format: Format::Avif, detail: "its AV1 stream".to_owned() }
        }
        Error::Again => damaged("it holds no picture"),
        error => damaged(&format!("AV1: {error}").to_lowercase()),
    }
}

fn damaged(detail: &str) -> PhotoError {
    PhotoError::Malformed { format: Format::Avif, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn children_that_die_lie_or_are_missing_give_an_error() {
        for program in ["false", "cat", "/nowhere/vitrine"] {
            let answer = in_child(&mut Command::new(program), &[0x32; 100_000], (64, 48));
            assert!(matches!(answer, Err(PhotoError::Malformed { .. })), "{program}: {answer:?}");
        }
    }
}
