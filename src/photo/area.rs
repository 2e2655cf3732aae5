//! Parts of photos: as they are asked for, and in pixels.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A part of a photo in pixels of the upright photo: from (`x1`, `y1`) up to, not including, (`x2`, `y2`). Written
/// `x1,y1,x2,y2`, in JSON `[x1, y1, x2, y2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[u32; 4]", into = "[u32; 4]")]
pub struct PixelBox {
    /// Left edge, inside.
    pub x1: u32,
    /// Upper edge, inside.
    pub y1: u32,
    /// Right edge, outside.
    pub x2: u32,
    /// Lower edge, outside.
    pub y2: u32,
}

impl PixelBox {
    /// Width in pixels, 0 when inside out.
    pub fn width(&self) -> u32 {
        self.x2.saturating_sub(self.x1)
    }

    /// Height in pixels, 0 when inside out.
    pub fn height(&self) -> u32 {
        self.y2.saturating_sub(self.y1)
    }
}

impl From<[u32; 4]> for PixelBox {
    fn from([x1, y1, x2, y2]: [u32; 4]) -> Self {
        Self { x1, y1, x2, y2 }
    }
}

impl From<PixelBox> for [u32; 4] {
    fn from(PixelBox { x1, y1, x2, y2 }: PixelBox) -> Self {
        [x1, y1, x2, y2]
    }
}

impl fmt::Display for PixelBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.x1, self.y1, self.x2, self.y2)
    }
}

/// A part of a photo as it is asked for, before the photo's size is known. Written as numbers with commas between, in JSON as a
/// list: those from 0 to 1 are shares of the photo's sides, whole ones beyond are pixels, however they are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "[f64; 4]")]
pub enum Area {
    /// In pixels.
    Pixels(PixelBox),
    /// In shares of the upright photo's width and height, 0 to 1: left, upper, right and lower edge, in that order.
    Shares([f64; 4]),
}

/// Numbers that are no [`Area`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x1,y1,x2,y2 or more points, in pixels (whole numbers) or in shares of width and height (0.0 to 1.0)")]
pub struct ParseAreaError;

impl Area {
    /// The part in pixels of a photo of that size; it holds every pixel that the shares touch.
    pub fn in_pixels(self, width: u32, height: u32) -> PixelBox {
        match self {
            Self::Pixels(area) => area,
            Self::Shares([x1, y1, x2, y2]) => {
                // Shares are 0 to 1: the products fit.
                let low = |share: f64, side: u32| (share * f64::from(side)).floor() as u32;
                let high = |share: f64, side: u32| (share * f64::from(side)).ceil() as u32;
                PixelBox { x1: low(x1, width), y1: low(y1, height), x2: high(x2, width), y2: high(y2, height) }
            }
        }
    }
}

impl From<PixelBox> for Area {
    fn from(area: PixelBox) -> Self {
        Self::Pixels(area)
    }
}

impl FromStr for Area {
    type Err = ParseAreaError;

    /// A box `x1,y1,x2,y2`, or the upright rectangle around more points, `x,y,x,y,x,y,...`.
    fn from_str(text: &str) -> Result<Self, ParseAreaError> {
        let numbers = text.split(',').map(|cell| cell.trim().parse().map_err(|_| ParseAreaError));
        around(&numbers.collect::<Result<Vec<_>, _>>()?)
    }
}

impl TryFrom<[f64; 4]> for Area {
    type Error = ParseAreaError;

    fn try_from(corners: [f64; 4]) -> Result<Self, ParseAreaError> {
        around(&corners)
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pixels(area) => area.fmt(f),
            // `1.0`, not `1`: it is read back as what it is.
            Self::Shares([x1, y1, x2, y2]) => write!(f, "{x1:?},{y1:?},{x2:?},{y2:?}"),
        }
    }
}

/// A box, or the upright rectangle around more points, `[x, y, x, y, ...]`. Whether it is one is seen when a photo is cut.
fn around(numbers: &[f64]) -> Result<Area, ParseAreaError> {
    let (points, rest) = numbers.as_chunks::<2>();
    let is_number = |number: &f64| (0.0..=f64::from(u32::MAX)).contains(number);
    if !rest.is_empty() || !numbers.iter().all(is_number) {
        return Err(ParseAreaError);
    }
    let ends = match *points {
        [] | [_] => return Err(ParseAreaError),
        // Not in any order: who sends a width and a height is to be told.
        [[x1, y1], [x2, y2]] => [x1, y1, x2, y2],
        _ => points.iter().fold([f64::MAX, f64::MAX, 0.0, 0.0], |[x1, y1, x2, y2], &[x, y]| {
            [x1.min(x), y1.min(y), x2.max(x), y2.max(y)]
        }),
    };
    if numbers.iter().all(|number| *number <= 1.0) {
        // A zero has one sign: what is the same is written the same.
        return Ok(Area::Shares(ends.map(|end| end + 0.0)));
    }
    if numbers.iter().any(|number| number.fract() != 0.0) {
        return Err(ParseAreaError);
    }
    Ok(Area::Pixels(ends.map(|end| end as u32).into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers_are_pixels_and_others_shares() {
        let pixels = |text: &str| match text.parse().unwrap() {
            Area::Pixels(area) => <[u32; 4]>::from(area),
            Area::Shares(_) => unreachable!("{text}"),
        };
        assert_eq!(pixels("10, 20,30,50"), [10, 20, 30, 50]);
        assert_eq!(pixels("30,20,10,50"), [30, 20, 10, 50], "inside out: no photo has it");
        assert_eq!(pixels("10,20,30,20,30,50,12,60"), [10, 20, 30, 60]);
        assert_eq!(pixels("10.0,2e1,30,50.0"), [10, 20, 30, 50], "as tables of floats write them");
        for whole in ["0,0,1,1", "0.0,0,1.0,1", "-0.0,0,1,0,1,1,0,1"] {
            assert_eq!(whole.parse::<Area>().unwrap().to_string(), "0.0,0.0,1.0,1.0");
        }
        let shares: Area = "0.25,0,0.5,1".parse().unwrap();
        assert_eq!(shares, Area::Shares([0.25, 0.0, 0.5, 1.0]));
        assert_eq!(<[u32; 4]>::from(shares.in_pixels(101, 7)), [25, 0, 51, 7]);
        for bad in
            ["", "1,2", "1,2,3", "1,2,3,4,5", "-1,0,2,2", "0.1,0,1.1,1", "nan,0,1,1", "10.5,0,20,30", "0,0,1e10,9"]
        {
            assert!(bad.parse::<Area>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(numbers in prop::collection::vec(0u32..5_000, 4), shares in prop::collection::vec(0.0..=1.0f64, 4)) {
            let text = |cells: Vec<String>| cells.join(",");
            for text in [text(numbers.iter().map(u32::to_string).collect()), text(shares.iter().map(|s| format!("{s:?}")).collect())] {
                if let Ok(area) = text.parse::<Area>() {
                    prop_assert_eq!(area.to_string().parse::<Area>().unwrap(), area);
                    let PixelBox { x1, y1, x2, y2 } = area.in_pixels(5_000, 5_000);
                    prop_assert!([x1, y1, x2, y2].iter().all(|end| *end <= 5_000));
                }
            }
        }
    }
}
