//! A product in bytes: one allocation of some 80 bytes, written as it is into snapshots. Numbers are LEB128 (DWARF 5,
//! 7.6), texts their length and UTF-8:
//!
//! `id, seq, terms (count, numbers), price (0, or 1 and 8 bytes), images (count, each image id and row id)`

use super::rows::RowId;
use crate::filter::Coded;
use std::sync::Arc;

/// A product as the index knows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Product {
    pub(super) id: Arc<str>,
    /// The change it comes from.
    pub(super) seq: u64,
    pub(super) coded: Coded,
    /// In the order of the catalog.
    pub(super) images: Vec<(Arc<str>, RowId)>,
}

impl Product {
    pub(super) fn encode(&self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(96);
        text(&mut out, &self.id);
        number(&mut out, self.seq);
        number(&mut out, self.coded.terms.len() as u64);
        self.coded.terms.iter().for_each(|term| number(&mut out, u64::from(*term)));
        match self.coded.price {
            Some(price) => {
                out.push(1);
                out.extend(price.to_le_bytes());
            }
            None => out.push(0),
        }
        number(&mut out, self.images.len() as u64);
        for (image_id, row) in &self.images {
            text(&mut out, image_id);
            number(&mut out, *row);
        }
        out.into()
    }

    /// `None` for bytes that [`Product::encode`] did not make.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let id = Arc::from(input.text()?);
        let seq = input.number()?;
        let terms = (0..input.count()?).map(|_| u32::try_from(input.number()?).ok()).collect::<Option<_>>()?;
        let price = match input.byte()? {
            0 => None,
            1 => Some(f64::from_le_bytes(*input.take(8)?.first_chunk()?)),
            _ => return None,
        };
        let images = (0..input.count()?).map(|_| Some((Arc::from(input.text()?), input.number()?)));
        let images = images.collect::<Option<_>>()?;
        input.0.is_empty().then_some(Self { id, seq, coded: Coded { terms, price }, images })
    }
}

/// The product's id, without the rest; empty for other bytes.
pub(super) fn id(record: &[u8]) -> &str {
    Input(record).text().unwrap_or("")
}

pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// What is left to read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A count of things of a byte at least.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_is(
            name in ".{0,12}", seq: u64, terms: Vec<u32>, price: Option<f64>, rows: Vec<u64>, cut: prop::sample::Index,
        ) {
            let images = rows.iter().map(|row| (Arc::from(format!("i{row}")), *row)).collect();
            let product = Product { id: Arc::from(name.as_str()), seq, coded: Coded { terms, price }, images };
            let bytes = product.encode();
            prop_assert_eq!(id(&bytes), name.as_str());
            prop_assert_eq!(format!("{:?}", Product::decode(&bytes).unwrap()), format!("{product:?}"));
            prop_assert!(Product::decode(&bytes[..cut.index(bytes.len())]).is_none());
            prop_assert!(Product::decode(&[&bytes[..], &[0]].concat()).is_none());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (Product::decode(&bytes), id(&bytes));
        }
    }
}
