//! The facets of many products in columns: a bitmap of products for each value there is, prices in a row of numbers.
//! Products are numbered (slots); a filter becomes the set of those that pass, or a test of single ones, and neither looks
//! at a product's text.
//!
//! A product's own values are kept by whoever keeps the product, as a few numbers ([`Coded`]) that [`Columns::facets`] turns
//! back. Of 1,000,000 products with 9 attributes each a term costs 1 to 2 bits a product, a price 8 bytes.

use super::{Bound, ColorName, Facets, Filter, Node, PriceTest, TextField};
use crate::collections::{Chunks, Tables};
use crate::color::BasicColor;
use roaring::{MultiOps, RoaringBitmap};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Values of one test that are looked up one by one; more are united first: with 100 of them, a walk that kept half of what
/// it met took 3.3 ms instead of 0.6.
const FEW: usize = 4;

/// A value of a field, as products have them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Term {
    /// A value of a text field.
    Text(TextField, String),
    /// A basic color.
    Basic(BasicColor),
    /// A retail color, as it is spelled.
    Retail(String),
    /// Known to be, or not to be, in stock.
    InStock(bool),
}

/// The facets of a product in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coded {
    /// Numbers of its terms, in the order of the facets.
    pub terms: Vec<u32>,
    /// Its price.
    pub price: Option<f64>,
    /// Its popularity.
    pub popularity: Option<f32>,
}

/// A field that a product can have no value of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Field {
    Text(TextField),
    Color,
    InStock,
    Price,
}

impl Term {
    fn field(&self) -> Field {
        match self {
            Self::Text(field, _) => Field::Text(field.clone()),
            Self::Basic(_) | Self::Retail(_) => Field::Color,
            Self::InStock(_) => Field::InStock,
        }
    }
}

/// Terms by number; `None` where a number is free.
#[derive(Clone, Debug, Default)]
pub struct Terms(Chunks<Option<Arc<Term>>>);

impl Terms {
    fn get(&self, number: u32) -> Option<&Term> {
        self.0.get(number as usize)?.as_deref()
    }

    /// All in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Option<&Term>> {
        self.0.iter().map(Option::as_deref)
    }
}

/// Columns over the facets of products, by slot.
#[derive(Debug, Default)]
pub struct Columns {
    /// Of a term that no product has any more nothing is left, and its number is given again.
    terms: Terms,
    /// Numbers by term.
    numbers: Tables,
    /// Products that have a term, by its number.
    slots: Vec<RoaringBitmap>,
    free: Vec<u32>,
    /// Products with any value of a field.
    fields: HashMap<Field, RoaringBitmap>,
    /// Terms that a color name stands for.
    colors: BTreeMap<ColorName, Vec<u32>>,
    prices: Vec<f64>,
    all: RoaringBitmap,
}

impl Columns {
    /// Enters a product; `slot` is not in use.
    pub fn insert(&mut self, slot: u32, facets: &Facets) -> Coded {
        let terms = terms(facets).map(|term| self.number(term)).collect();
        let coded = Coded { terms, price: facets.price, popularity: facets.popularity };
        self.enter(slot, &coded);
        coded
    }

    /// Enters a product whose terms are numbered already.
    fn enter(&mut self, slot: u32, coded: &Coded) {
        for number in &coded.terms {
            let Some(term) = self.terms.get(*number) else { continue };
            self.slots[*number as usize].insert(slot);
            self.fields.entry(term.field()).or_default().insert(slot);
        }
        if self.prices.len() <= slot as usize {
            self.prices.resize(slot as usize + 1, f64::NAN);
        }
        if let Some(price) = coded.price {
            self.prices[slot as usize] = price;
            self.fields.entry(Field::Price).or_default().insert(slot);
        }
        self.all.insert(slot);
    }

    /// Takes a product out, of which [`Columns::insert`] gave `coded`.
    pub fn remove(&mut self, slot: u32, coded: &Coded) {
        for number in &coded.terms {
            let Some(term) = self.terms.get(*number) else { continue };
            let slots = &mut self.slots[*number as usize];
            slots.remove(slot);
            let field = term.field();
            if slots.is_empty() {
                self.numbers.remove(term, *number);
                if let Some(name) = color_name(term) {
                    self.colors.entry(name).or_default().retain(|other| other != number);
                }
                self.terms.0.set(*number as usize, None);
                self.free.push(*number);
            }
            forget(&mut self.fields, &field, slot);
        }
        if coded.price.is_some() {
            forget(&mut self.fields, &Field::Price, slot);
            self.prices[slot as usize] = f64::NAN;
        }
        self.all.remove(slot);
    }

    /// Of the facets that these terms stand for, the group alone.
    pub fn group_id(&self, mut terms: impl Iterator<Item = u32>) -> Option<String> {
        terms.find_map(|number| match self.terms.get(number)? {
            Term::Text(TextField::GroupId, value) => Some(value.clone()),
            _ => None,
        })
    }

    /// The facets that `coded` stands for; an attribute without a value is not among them.
    pub fn facets(&self, coded: &Coded) -> Facets {
        let mut facets = Facets { price: coded.price, popularity: coded.popularity, ..Facets::default() };
        for number in &coded.terms {
            let Some(term) = self.terms.get(*number) else { continue };
            match term {
                Term::Text(field, value) => {
                    let value = value.clone();
                    match field {
                        TextField::Category => facets.category = Some(value),
                        TextField::Currency => facets.currency = Some(value),
                        TextField::GroupId => facets.group_id = Some(value),
                        TextField::Tags => facets.tags.push(value),
                        TextField::Attribute(name) => facets.attributes.entry(name.clone()).or_default().push(value),
                    }
                }
                Term::Basic(color) => facets.colors.push(*color),
                Term::Retail(name) => facets.retail_colors.push(name.clone()),
                Term::InStock(known) => facets.in_stock = Some(*known),
            }
        }
        facets
    }

    /// All terms, to be kept beside the products: [`Columns::restored`] takes them back.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Columns from terms and products that were kept; `None` when a product has a number that is no term's.
    pub fn restored(terms: Vec<Option<Term>>, products: impl Iterator<Item = (u32, Coded)>) -> Option<Self> {
        let mut columns = Self::default();
        columns.numbers.reserve(terms.len());
        for (number, term) in (0u32..).zip(terms) {
            columns.terms.0.push(None);
            columns.slots.push(RoaringBitmap::new());
            match term {
                Some(term) => columns.name(number, term),
                None => columns.free.push(number),
            }
        }
        for (slot, coded) in products {
            if coded.terms.iter().any(|number| columns.terms.get(*number).is_none()) {
                return None;
            }
            columns.enter(slot, &coded);
        }
        Some(columns)
    }

    fn number(&mut self, term: Term) -> u32 {
        if let Some(number) = self.known(&term) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.terms.0.push(None);
            self.slots.push(RoaringBitmap::new());
            (self.slots.len() - 1) as u32
        });
        self.name(number, term);
        number
    }

    /// Gives a term a number that is free.
    fn name(&mut self, number: u32, term: Term) {
        if let Some(name) = color_name(&term) {
            self.colors.entry(name).or_default().push(number);
        }
        self.numbers.insert(&term, number, |number| self.terms.get(number));
        self.terms.0.set(number as usize, Some(Arc::new(term)));
    }

    /// The number of a term that a product has.
    fn known(&self, term: &Term) -> Option<u32> {
        self.numbers.find(term, |number| self.terms.get(number))
    }

    fn slots_of(&self, term: &Term) -> Option<&RoaringBitmap> {
        self.slots.get(self.known(term)? as usize)
    }

    /// Products of a group.
    pub fn group(&self, group_id: &str) -> RoaringBitmap {
        self.slots_of(&Term::Text(TextField::GroupId, group_id.to_owned())).cloned().unwrap_or_default()
    }

    /// `filter` over these columns.
    pub fn compile<'a>(&'a self, filter: &'a Filter) -> Compiled<'a> {
        Compiled { columns: self, test: self.test(&filter.0) }
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        // A term is an allocation and its texts, a bitmap two; bitmaps know their size.
        const TERM: usize = 160;
        let bitmaps: usize = self.slots.iter().chain(self.fields.values()).map(RoaringBitmap::serialized_size).sum();
        bitmaps + self.prices.capacity() * size_of::<f64>() + self.numbers.len() * TERM + self.numbers.bytes()
    }

    fn test<'a>(&'a self, node: &'a Node) -> Test<'a> {
        let tests = |nodes: &'a [Node]| -> Vec<Test<'a>> { nodes.iter().map(|node| self.test(node)).collect() };
        let any = |found: Vec<&'a RoaringBitmap>, missing: bool, field: Field| {
            let missing = if missing { Missing::Of(self.fields.get(&field)) } else { Missing::No };
            match found.len() {
                0..=FEW => Test::Any(found.into_iter().map(Cow::Borrowed).collect(), missing),
                _ => Test::Any(vec![Cow::Owned(found.union())], missing),
            }
        };
        match node {
            Node::And(nodes) => Test::And(tests(nodes)),
            Node::Or(nodes) => Test::Or(tests(nodes)),
            Node::Not(node) => Test::Not(Box::new(self.test(node))),
            Node::Text { field, any_of, missing } => {
                let slots = |value: &String| self.slots_of(&Term::Text(field.clone(), value.clone()));
                any(any_of.iter().filter_map(slots).collect(), *missing, Field::Text(field.clone()))
            }
            Node::Color { any_of, missing } => {
                let numbers = any_of.iter().filter_map(|name| self.colors.get(name)).flatten();
                any(numbers.filter_map(|number| self.slots.get(*number as usize)).collect(), *missing, Field::Color)
            }
            Node::InStock(None) => any(Vec::new(), true, Field::InStock),
            Node::InStock(Some(known)) => {
                any(self.slots_of(&Term::InStock(*known)).into_iter().collect(), false, Field::InStock)
            }
            Node::Price(test) => Test::Price(test, self.fields.get(&Field::Price)),
        }
    }
}

fn forget(fields: &mut HashMap<Field, RoaringBitmap>, field: &Field, slot: u32) {
    if let Some(slots) = fields.get_mut(field) {
        slots.remove(slot);
        if slots.is_empty() {
            fields.remove(field);
        }
    }
}

fn color_name(term: &Term) -> Option<ColorName> {
    match term {
        Term::Basic(color) => Some(ColorName::Basic(*color)),
        Term::Retail(name) => ColorName::parse(name),
        _ => None,
    }
}

fn terms(facets: &Facets) -> impl Iterator<Item = Term> {
    fn text(field: TextField) -> impl Fn(&String) -> Term {
        move |value| Term::Text(field.clone(), value.clone())
    }
    let attribute = |(name, values): (&String, &Vec<String>)| {
        values.iter().map(text(TextField::Attribute(name.clone()))).collect::<Vec<_>>()
    };
    let Facets {
        category,
        price: _,
        popularity: _,
        currency,
        in_stock,
        group_id,
        tags,
        attributes,
        colors,
        retail_colors,
    } = facets;
    (category.iter().map(text(TextField::Category)))
        .chain(currency.iter().map(text(TextField::Currency)))
        .chain(group_id.iter().map(text(TextField::GroupId)))
        .chain(in_stock.iter().copied().map(Term::InStock))
        .chain(tags.iter().map(text(TextField::Tags)))
        .chain(attributes.iter().flat_map(attribute))
        .chain(colors.iter().copied().map(Term::Basic))
        .chain(retail_colors.iter().cloned().map(Term::Retail))
}

/// A filter whose values were looked up.
pub struct Compiled<'a> {
    columns: &'a Columns,
    test: Test<'a>,
}

enum Test<'a> {
    And(Vec<Test<'a>>),
    Or(Vec<Test<'a>>),
    Not(Box<Test<'a>>),
    Any(Vec<Cow<'a, RoaringBitmap>>, Missing<'a>),
    /// With the products whose price is known.
    Price(&'a PriceTest, Option<&'a RoaringBitmap>),
}

/// Whether products without a value pass.
enum Missing<'a> {
    No,
    /// Those outside of the field's products; `None` when no product has a value.
    Of(Option<&'a RoaringBitmap>),
}

impl Compiled<'_> {
    /// True when the product in use at `slot` passes.
    pub fn contains(&self, slot: u32) -> bool {
        self.passes(&self.test, slot)
    }

    fn passes(&self, test: &Test<'_>, slot: u32) -> bool {
        match test {
            Test::And(tests) => tests.iter().all(|test| self.passes(test, slot)),
            Test::Or(tests) => tests.iter().any(|test| self.passes(test, slot)),
            Test::Not(test) => !self.passes(test, slot),
            Test::Any(found, missing) => {
                found.iter().any(|slots| slots.contains(slot))
                    || matches!(missing, Missing::Of(known) if known.is_none_or(|known| !known.contains(slot)))
            }
            Test::Price(test, known) => test.matches(self.price(slot, *known)),
        }
    }

    fn price(&self, slot: u32, known: Option<&RoaringBitmap>) -> Option<f64> {
        let price = *self.columns.prices.get(slot as usize)?;
        // Of a price that is no number only the bitmap tells whether it was given.
        (!price.is_nan() || known.is_some_and(|known| known.contains(slot))).then_some(price)
    }

    /// Every product that passes.
    pub fn select(&self) -> RoaringBitmap {
        self.within(&self.test, None)
    }

    /// Products of `within`, or of all, that pass `test`.
    fn within(&self, test: &Test<'_>, within: Option<&RoaringBitmap>) -> RoaringBitmap {
        let all = within.unwrap_or(&self.columns.all);
        match test {
            Test::And(tests) => {
                // Prices last: they are tested one by one.
                let (last, first): (Vec<_>, Vec<_>) = tests.iter().partition(|test| matches!(test, Test::Price(..)));
                let mut left: Option<RoaringBitmap> = None;
                for test in first.into_iter().chain(last) {
                    let passed = self.within(test, left.as_ref().or(within));
                    let done = passed.is_empty();
                    left = Some(passed);
                    if done {
                        break;
                    }
                }
                left.unwrap_or_else(|| all.clone())
            }
            Test::Or(tests) => {
                tests.iter().map(|test| self.within(test, within)).fold(RoaringBitmap::new(), |sum, one| sum | one)
            }
            Test::Not(test) => all - self.within(test, within),
            Test::Any(found, missing) => {
                let mut passed = match found[..] {
                    [] => RoaringBitmap::new(),
                    [ref only] => &**only & all,
                    _ => found.iter().map(|slots| &**slots).union() & all,
                };
                if let Missing::Of(known) = missing {
                    passed |= known.map_or_else(|| all.clone(), |known| all - known);
                }
                passed
            }
            Test::Price(PriceTest::Range { low, high }, _) if within.is_none() => self.range(*low, *high),
            Test::Price(test, known) => {
                let passed = all.iter().filter(|slot| test.matches(self.price(*slot, *known)));
                RoaringBitmap::from_sorted_iter(passed).unwrap_or_default()
            }
        }
    }

    /// Products with a price in a range: one pass over the row of prices, of which those not known are in no range.
    fn range(&self, low: Bound, high: Bound) -> RoaringBitmap {
        let low = match low {
            Bound::None => f64::NEG_INFINITY,
            Bound::Open(bound) => bound.next_up(),
            Bound::Closed(bound) => bound,
        };
        let high = match high {
            Bound::None => f64::INFINITY,
            Bound::Open(bound) => bound.next_down(),
            Bound::Closed(bound) => bound,
        };
        let words = self.columns.prices.chunks(64).flat_map(|prices| {
            let bits = prices.iter().enumerate().map(|(i, price)| u64::from((low <= *price) & (*price <= high)) << i);
            bits.fold(0, |word, bit| word | bit).to_le_bytes()
        });
        // From bytes, since a slot pushed alone takes 80 ns.
        RoaringBitmap::from_lsb0_bytes(0, &words.collect::<Vec<u8>>())
    }
}
