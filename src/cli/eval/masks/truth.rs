//! Pixel truth: an indexed or grey PNG whose values are classes, named in a text file of `number name` lines.

use png::{BitDepth, ColorType, Decoder};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// What a pixel of the truth is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Background,
    Skin,
    Hair,
    /// Clothing or goods: those sold, where the truth knows which are.
    Product,
    /// Clothing that is not sold.
    Other,
}

/// Names of the values of masks.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    of: HashMap<u8, Class>,
    /// Whether the truth tells the product sold from other clothing.
    pub(super) knows_sold: bool,
}

impl Classes {
    /// From lines of `number name`: `background` or `null`, `skin`, `hair`, `other`; every other name is product.
    ///
    /// # Errors
    /// Which line is not such a one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut classes = Self { of: HashMap::new(), knows_sold: false };
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let parts = line.trim().split_once(char::is_whitespace);
            let parts = parts.and_then(|(number, name)| Some((number.parse::<u8>().ok()?, name.trim())));
            let (number, name) =
                parts.ok_or_else(|| format!("line {}: expected `0 to 255, name`, got `{line}`", n + 1))?;
            let class = match name {
                "background" | "null" => Class::Background,
                "skin" => Class::Skin,
                "hair" => Class::Hair,
                "other" => Class::Other,
                _ => Class::Product,
            };
            classes.knows_sold |= class == Class::Other;
            classes.of.insert(number, class);
        }
        Ok(classes)
    }
}

/// The truth of one photo.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    width: usize,
    height: usize,
    classes: Vec<Class>,
}

impl Truth {
    /// Reads the mask at `path`.
    ///
    /// # Errors
    /// When it is no PNG of one channel, or holds a value without a name.
    pub(super) fn read(path: &Path, classes: &Classes) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let (width, height, values) = indices(BufReader::new(file))?;
        let named = |v: &u8| classes.of.get(v).copied().ok_or_else(|| format!("value {v} has no name"));
        Ok(Self { width, height, classes: values.iter().map(named).collect::<Result<_, _>>()? })
    }

    /// Class of the pixel that holds the center of pixel (x, y) of a picture of `width` and `height`.
    pub(super) fn at(&self, (x, y): (usize, usize), (width, height): (usize, usize)) -> Class {
        let along = |v: usize, from: usize, to: usize| ((2 * v + 1) * to / (2 * from.max(1))).min(to - 1);
        self.classes[along(y, height, self.height) * self.width + along(x, width, self.width)]
    }
}

/// Values of the pixels as the file has them, without its palette; `image` gives colors only.
fn indices(file: BufReader<File>) -> Result<(usize, usize, Vec<u8>), String> {
    /// Memory the decoder may take: a mask of 50 million pixels.
    const LIMIT: usize = 64 << 20;
    let decoder = Decoder::new_with_limits(file, png::Limits { bytes: LIMIT });
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let size = reader.output_buffer_size().filter(|s| *s <= LIMIT).ok_or("the mask is too large")?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(|e| e.to_string())?;
    let bits = match (frame.color_type, frame.bit_depth) {
        (ColorType::Grayscale | ColorType::Indexed, BitDepth::One) => 1,
        (ColorType::Grayscale | ColorType::Indexed, BitDepth::Two) => 2,
        (ColorType::Grayscale | ColorType::Indexed, BitDepth::Four) => 4,
        (ColorType::Grayscale | ColorType::Indexed, BitDepth::Eight) => 8,
        (color, depth) => return Err(format!("expected one channel of at most 8 bits, got {color:?} of {depth:?}")),
    };
    let (width, height) = (frame.width as usize, frame.height as usize);
    let per_byte = 8 / bits;
    let mut values = Vec::with_capacity(width * height);
    for row in bytes.chunks_exact(frame.line_size.max(1)).take(height) {
        let value = |x: usize| (row[x / per_byte] >> (8 - bits - x % per_byte * bits)) & (255 >> (8 - bits)) as u8;
        values.extend((0..width).map(value));
    }
    if values.len() != width * height || values.is_empty() {
        return Err("the mask has no pixels".into());
    }
    Ok((width, height, values))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn written(dir: &Path, color: ColorType, depth: BitDepth, width: u32, bytes: &[u8]) -> std::path::PathBuf {
        let path = dir.join("mask.png");
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), width, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(vec![9; 48]);
        }
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        path
    }

    #[test]
    fn masks_of_every_depth_give_their_values() {
        let dir = tempfile::tempdir().unwrap();
        let classes = Classes::parse("0 null\n1 dress\n2 skin\n3 hair\n").unwrap();
        assert!(!classes.knows_sold);
        for (color, depth, bytes) in [
            (ColorType::Indexed, BitDepth::Two, vec![0b0001_1000, 0b1100_0000]),
            (ColorType::Indexed, BitDepth::Four, vec![0x01, 0x20, 0x30, 0x00]),
            (ColorType::Grayscale, BitDepth::Eight, vec![0, 1, 2, 3, 0, 0]),
        ] {
            let truth = Truth::read(&written(dir.path(), color, depth, 3, &bytes), &classes).unwrap();
            let row = |y| [0, 1, 2].map(|x| truth.at((x, y), (3, 2)));
            assert_eq!(row(0), [Class::Background, Class::Product, Class::Skin], "{depth:?}");
            assert_eq!(row(1), [Class::Hair, Class::Background, Class::Background], "{depth:?}");
        }
    }

    #[test]
    fn other_sizes_look_at_the_pixel_below_the_center() {
        let classes = [Class::Product, Class::Background, Class::Background, Class::Skin];
        let truth = Truth { width: 2, height: 2, classes: classes.to_vec() };
        assert_eq!(truth.at((0, 0), (8, 8)), Class::Product);
        assert_eq!(truth.at((3, 3), (8, 8)), Class::Product);
        assert_eq!(truth.at((4, 4), (8, 8)), Class::Skin);
        assert_eq!(truth.at((0, 0), (1, 1)), Class::Skin);
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let classes = Classes::parse("0 background\n2 other").unwrap();
        assert!(classes.knows_sold);
        let path = written(dir.path(), ColorType::Grayscale, BitDepth::Eight, 1, &[0, 7]);
        assert_eq!(Truth::read(&path, &classes).unwrap_err(), "value 7 has no name");
        let path = written(dir.path(), ColorType::Rgb, BitDepth::Eight, 1, &[0; 6]);
        assert!(Truth::read(&path, &classes).unwrap_err().contains("one channel"));
        fs::write(&path, b"no png").unwrap();
        assert!(Truth::read(&path, &classes).is_err());
        for bad in ["skin", "300 skin", "-1 skin", "x y"] {
            assert!(Classes::parse(bad).unwrap_err().starts_with("line 1"), "{bad}");
        }
    }
}
