//! A product in bytes: one allocation of some 80 bytes, written as it is into snapshots. Numbers are LEB128 (DWARF 5,
//! 7.6), texts their length and UTF-8:
//!
//! `id, seq, terms (count, numbers), numbers (bit 0: a price, 8 bytes; bit 1: a popularity, 4 bytes), images (count, each image id and row id)`

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
        let Coded { price, popularity, .. } = self.coded;
        out.push(u8::from(price.is_some()) | u8::from(popularity.is_some()) << 1);
        out.extend(price.iter().flat_map(|price| price.to_le_bytes()));
        out.extend(popularity.iter().flat_map(|popularity| popularity.to_le_bytes()));
        number(&mut out, self.images.len() as u64);
        for (image_id, row) in &self.images {
            text(&mut out, image_id);
            number(&mut out, *row);
        }
        out.into()
    }

    /// `None` for bytes that [`Product::encode`] did not make.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let view = View::new(bytes)?;
        let coded = view.coded()?;
        let (count, mut input) = view.images;
        let image = |_| input.image().map(|(id, row)| (Arc::from(id), row));
        let images = (0..count).map(image).collect::<Option<_>>()?;
        input.0.is_empty().then_some(Self { id: view.id.into(), seq: view.seq, coded, images })
    }
}

/// A record that is read where it lies, as far as it is wanted.
pub(super) struct View<'a> {
    pub(super) id: &'a str,
    seq: u64,
    /// How many, and where they begin.
    terms: (usize, Input<'a>),
    price: Option<f64>,
    popularity: Option<f32>,
    images: (usize, Input<'a>),
}

impl<'a> View<'a> {
    /// `None` for bytes that are no record up to the images.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let id = input.text()?;
        let seq = input.number()?;
        let terms = (input.count()?, input);
        for _ in 0..terms.0 {
            input.number()?;
        }
        let numbers = input.byte()?;
        if numbers > 3 {
            return None;
        }
        let price = if numbers & 1 > 0 { Some(f64::from_le_bytes(*input.take(8)?.first_chunk()?)) } else { None };
        let popularity = if numbers & 2 > 0 { Some(f32::from_le_bytes(*input.take(4)?.first_chunk()?)) } else { None };
        Some(Self { id, seq, terms, price, popularity, images: (input.count()?, input) })
    }

    /// `None` for what is no term.
    pub(super) fn terms(&self) -> impl Iterator<Item = Option<u32>> + use<'a> {
        let (count, mut input) = self.terms;
        (0..count).map(move |_| u32::try_from(input.number()?).ok())
    }

    /// What is filtered on; `None` for what is no term.
    pub(super) fn coded(&self) -> Option<Coded> {
        let terms = self.terms().collect::<Option<_>>()?;
        Some(Coded { terms, price: self.price, popularity: self.popularity })
    }

    /// Ids of images and their rows, in the order of the catalog.
    pub(super) fn images(&self) -> impl Iterator<Item = (&'a str, RowId)> + use<'a> {
        let (count, mut input) = self.images;
        (0..count).map_while(move |_| input.image())
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
#[derive(Clone, Copy)]
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

    fn image(&mut self) -> Option<(&'a str, RowId)> {
        Some((self.text()?, self.number()?))
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
            name in ".{0,12}", seq: u64, terms: Vec<u32>, price: Option<f64>,
            popularity: Option<f32>, rows: Vec<u64>, cut: prop::sample::Index,
        ) {
            let images = rows.iter().map(|row| (Arc::from(format!("i{row}")), *row)).collect();
            let product = Product { id: Arc::from(name.as_str()), seq, coded: Coded { terms, price, popularity }, images };
            let bytes = product.encode();
            prop_assert_eq!(id(&bytes), name.as_str());
            let view = View::new(&bytes).unwrap();
            prop_assert_eq!(view.terms().collect::<Option<Vec<_>>>(), Some(product.coded.terms.clone()));
            let seen: Vec<_> = view.images().map(|(id, row)| (Arc::from(id), row)).collect();
            prop_assert_eq!(&seen, &product.images);
            prop_assert_eq!(format!("{:?}", Product::decode(&bytes).unwrap()), format!("{product:?}"));
            prop_assert!(Product::decode(&bytes[..cut.index(bytes.len())]).is_none());
            prop_assert!(Product::decode(&[&bytes[..], &[0]].concat()).is_none());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (Product::decode(&bytes), id(&bytes), View::new(&bytes).map(|view| view.images().count()));
        }
    }
}
