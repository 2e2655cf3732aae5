//! Keeps a bounded number of photos in flight, counts how they end, and stops between two photos when told to.
//! Knows nothing of the service: what is done with a row is passed in.

use super::rows::Row;
use futures_util::{Stream, StreamExt, stream};
use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many failures of one cause are kept with their names.
const EXAMPLES: usize = 3;

/// How one photo ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Analyzed, stored and indexed.
    Imported,
    /// Already there, with the same bytes, seen by the same model version.
    Unchanged,
    /// Not imported; nothing of it is stored.
    Failed {
        /// What it counts under.
        cause: &'static str,
        /// Which photo and what exactly.
        detail: String,
    },
}

/// How all photos ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) imported: u64,
    pub(super) unchanged: u64,
    pub(super) failed: u64,
    /// Failures by cause: how many, and the first few.
    pub(super) causes: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Tally {
    /// Counts one photo.
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Imported => self.imported += 1,
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::Failed { cause, detail } => {
                self.failed += 1;
                let (count, examples) = self.causes.entry(cause).or_default();
                *count += 1;
                if examples.len() < EXAMPLES {
                    examples.push(detail);
                }
            }
        }
    }

    /// Photos that are in the catalog now.
    pub(super) fn good(&self) -> u64 {
        self.imported + self.unchanged
    }
}

/// The outcomes of `rows` as they come, at most `in_flight` at a time. Once `stop` is true no row is begun any more;
/// those begun are finished.
pub(super) fn outcomes<F, Fut>(
    rows: Vec<Row>,
    in_flight: usize,
    stop: &AtomicBool,
    one: F,
) -> impl Stream<Item = Outcome>
where
    F: FnMut(Row) -> Fut,
    Fut: Future<Output = Outcome>,
{
    stream::iter(rows).take_while(|_| ready(!stop.load(Ordering::Relaxed))).map(one).buffer_unordered(in_flight.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::rows::Place;
    use super::*;
    use std::cell::Cell;

    fn rows(count: usize) -> Vec<Row> {
        let row = |n: usize| Row {
            line: n as u64,
            product_id: format!("p{n}"),
            image_id: None,
            place: Place::Url(format!("http://shop.example/{n}")),
        };
        (0..count).map(row).collect()
    }

    #[tokio::test]
    async fn never_more_in_flight_than_allowed_and_all_are_done() {
        let stop = AtomicBool::new(false);
        let (now, most) = (Cell::new(0), Cell::new(0));
        let one = |_| async {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::task::yield_now().await;
            now.set(now.get() - 1);
            Outcome::Imported
        };
        let mut tally = Tally::default();
        outcomes(rows(50), 4, &stop, one)
            .for_each(|o| {
                tally.add(o);
                ready(())
            })
            .await;
        assert_eq!((tally.imported, most.get()), (50, 4));
    }

    #[tokio::test]
    async fn stopping_finishes_what_was_begun_and_begins_no_more() {
        let stop = AtomicBool::new(false);
        let (begun, finished) = (Cell::new(0), Cell::new(0));
        let one = |_| async {
            begun.set(begun.get() + 1);
            tokio::task::yield_now().await;
            finished.set(finished.get() + 1);
            stop.store(true, Ordering::Relaxed);
            Outcome::Unchanged
        };
        let count = outcomes(rows(50), 4, &stop, one).count().await;
        assert_eq!((begun.get(), finished.get(), count), (4, 4, 4));
    }

    #[test]
    fn causes_are_counted_and_only_the_first_are_named() {
        let mut tally = Tally::default();
        for n in 0..5 {
            tally.add(Outcome::Failed { cause: "truncated", detail: n.to_string() });
        }
        tally.add(Outcome::Imported);
        assert_eq!(tally.causes["truncated"], (5, vec!["0".into(), "1".into(), "2".into()]));
        assert_eq!((tally.failed, tally.good()), (5, 1));
    }
}
