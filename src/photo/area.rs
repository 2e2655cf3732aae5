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

/// A part of a photo as it is asked for, before the photo's size is known. Written as four numbers with commas between: whole
/// ones are pixels, others shares.
#[derive(Clone, Copy, Debug, PartialEq)]
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

    /// The upright rectangle around two or more points, `x,y,x,y,...`.
    fn from_str(text: &str) -> Result<Self, ParseAreaError> {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        if cells.len() < 4 || !cells.len().is_multiple_of(2) {
            return Err(ParseAreaError);
        }
        if let Ok(whole) = cells.iter().map(|cell| cell.parse()).collect::<Result<Vec<u32>, _>>() {
            let [x1, y1, x2, y2] = around(&whole).ok_or(ParseAreaError)?;
            return Ok(Self::Pixels(PixelBox { x1, y1, x2, y2 }));
        }
        let shares = cells.iter().map(|cell| cell.parse().ok().filter(|share| (0.0..=1.0).contains(share)));
        let shares = shares.collect::<Option<Vec<f64>>>().ok_or(ParseAreaError)?;
        around(&shares).map(Self::Shares).ok_or(ParseAreaError)
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

/// Left, upper, right and lower end of points; none where they lie on a line along an axis.
fn around<T: Copy + PartialOrd>(points: &[T]) -> Option<[T; 4]> {
    let (points, _) = points.as_chunks::<2>();
    let first = *points.first()?;
    let lower = |a: T, b: T| if b < a { b } else { a };
    let higher = |a: T, b: T| if b > a { b } else { a };
    let ends = points.iter().fold([first[0], first[1], first[0], first[1]], |[x1, y1, x2, y2], &[x, y]| {
        [lower(x1, x), lower(y1, y), higher(x2, x), higher(y2, y)]
    });
    (ends[0] < ends[2] && ends[1] < ends[3]).then_some(ends)
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
        assert_eq!(pixels("30,20,10,50"), [10, 20, 30, 50], "corners in any order");
        assert_eq!(pixels("10,20,30,20,30,50,12,60"), [10, 20, 30, 60]);
        assert_eq!("0,0,1,1".parse::<Area>().unwrap(), Area::Pixels([0, 0, 1, 1].into()));
        let shares: Area = "0.25,0,0.5,1".parse().unwrap();
        assert_eq!(shares, Area::Shares([0.25, 0.0, 0.5, 1.0]));
        assert_eq!(<[u32; 4]>::from(shares.in_pixels(101, 7)), [25, 0, 51, 7]);
        for bad in
            ["", "1,2,3", "1,2,3,4,5", "1,2,1,4", "0.5,0,0.5,1", "-1,0,2,2", "0.1,0,1.1,1", "nan,0,1,1", "10.5,0,20,30"]
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
                    prop_assert!(x1 < x2 && y1 < y2 && x2 <= 5_000 && y2 <= 5_000);
                }
            }
        }
    }
}
