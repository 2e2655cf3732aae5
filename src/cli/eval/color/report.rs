//! The figures of `vitrine eval color`: a table for people, one line of JSON for machines.

use super::Named;
use super::stability::CHANGES;
use crate::cli::joint::word;
use crate::cli::term::{clean, table};
use crate::color::BasicColor;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The name that each way gives a photo's product.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ways {
    /// Largest of five k-means clusters over the whole photo.
    pub(super) whole: Option<BasicColor>,
    /// The same without nearly white pixels.
    pub(super) without_white: Option<BasicColor>,
    /// Masks and palette that know nothing of the model.
    pub(super) mapless: Option<BasicColor>,
    /// Masks that know the region map; the palette alone names.
    pub(super) pixels: Option<BasicColor>,
    /// The model's head alone.
    pub(super) head: Option<BasicColor>,
    /// What is answered.
    pub(super) both: Option<BasicColor>,
    /// What another tool answered, where its answers were given.
    pub(super) beside: Option<BasicColor>,
}

impl Ways {
    const NAMES: [&str; 7] =
        ["k-means, whole photo", "k-means without white", "pixels, no region map", "pixels", "head", "both", "beside"];

    fn all(self) -> [Option<BasicColor>; 7] {
        [self.whole, self.without_white, self.mapless, self.pixels, self.head, self.both, self.beside]
    }
}

#[derive(Debug, Default)]
struct Count {
    n: usize,
    right: [usize; 7],
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    model_version: String,
    /// Ways that were measured: the last one is there only where another tool's answers were given.
    ways: usize,
    groups: BTreeMap<String, Count>,
    /// By the first accepted name: photos, right by pixels, right by both.
    names: BTreeMap<BasicColor, [usize; 3]>,
    /// (accepted, said) of wrong answers.
    confusion: BTreeMap<(BasicColor, BasicColor), usize>,
    /// Per change: names kept, and distances.
    changes: Vec<(usize, Vec<f32>)>,
    times: [Vec<Duration>; 3],
}

impl Report {
    pub(super) fn new(version: &str, beside: bool) -> Self {
        let ways = if beside { Ways::NAMES.len() } else { Ways::NAMES.len() - 1 };
        Self { model_version: version.to_owned(), ways, ..Self::default() }
    }

    pub(super) fn add(&mut self, group: &str, accepted: &[BasicColor], named: &Named) {
        let right = named.ways.all().map(|name| name.is_some_and(|n| accepted.contains(&n)));
        for name in [group, "all"] {
            // With a group called `all` there is nothing to sum up.
            if name == group || group != "all" {
                let count = self.groups.entry(name.to_owned()).or_default();
                count.n += 1;
                count.right.iter_mut().zip(right).for_each(|(sum, r)| *sum += usize::from(r));
            }
        }
        if let (Some(first), Some(said)) = (accepted.first(), named.ways.both) {
            let by_name = self.names.entry(*first).or_default();
            by_name.iter_mut().zip([true, right[3], right[5]]).for_each(|(sum, r)| *sum += usize::from(r));
            if !right[5] {
                *self.confusion.entry((*first, said)).or_default() += 1;
            }
        }
        if let Some(stability) = &named.stability {
            self.changes.resize(stability.0.len(), (0, Vec::new()));
            for ((kept, apart), (same, moved)) in self.changes.iter_mut().zip(&stability.0) {
                *kept += usize::from(*same);
                apart.push(*moved);
            }
        }
        self.times.iter_mut().zip(named.times).for_each(|(all, t)| all.push(t));
    }

    /// Photos judged.
    pub(super) fn photos(&self) -> usize {
        self.times[0].len()
    }

    fn milliseconds(&self) -> [f64; 3] {
        self.times.each_ref().map(|all| median(all.iter().map(|t| t.as_secs_f64() * 1e3)))
    }

    fn stability(&self) -> Vec<(&'static str, f64, f64)> {
        let one = |(name, (kept, apart)): (&&'static str, &(usize, Vec<f32>))| {
            (*name, *kept as f64 / apart.len().max(1) as f64, median(apart.iter().map(|d| f64::from(*d))))
        };
        CHANGES.iter().zip(&self.changes).map(one).collect()
    }

    /// For machines.
    pub(super) fn json(&self) -> serde_json::Value {
        let share = |count: &Count| -> serde_json::Map<String, serde_json::Value> {
            let ways = Ways::NAMES.iter().zip(count.right).take(self.ways);
            let shares = ways.map(|(name, r)| ((*name).to_owned(), json!(r as f64 / count.n.max(1) as f64)));
            shares.chain([("n".to_owned(), json!(count.n))]).collect()
        };
        json!({
            "model_version": self.model_version,
            "accepted": self.groups.iter().map(|(g, c)| (g.clone(), share(c))).collect::<BTreeMap<_, _>>(),
            "by_name": self.names.iter().map(|(n, [all, pixels, both])| json!({"name": n, "n": all, "pixels": pixels,
                "both": both})).collect::<Vec<_>>(),
            "confusion": self.confusion.iter().map(|((t, s), n)| json!({"accepted": t, "said": s, "n": n}))
                .collect::<Vec<_>>(),
            "stability": self.stability().iter().map(|(c, same, moved)| json!({"change": c, "same_name": same,
                "ciede2000_median": moved})).collect::<Vec<_>>(),
            "milliseconds_median": {"mask": self.milliseconds()[0], "color": self.milliseconds()[1],
                "inference": self.milliseconds()[2]},
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("model {}: {} photos\n\n", clean(&self.model_version), self.photos());
        let groups: Vec<&String> = self.groups.keys().collect();
        let head: Vec<&str> = std::iter::once("share accepted").chain(groups.iter().map(|g| g.as_str())).collect();
        let mut rows = vec![row("photos", self.groups.values().map(|c| c.n.to_string()))];
        for (way, name) in Ways::NAMES.iter().take(self.ways).enumerate() {
            let shares = self.groups.values().map(|c| format!("{:.3}", c.right[way] as f64 / c.n.max(1) as f64));
            rows.push(row(name, shares));
        }
        out.push_str(&table(&head, &rows));
        let rows: Vec<Vec<String>> = self.names.iter().map(|(name, counts)| self.name(*name, *counts)).collect();
        out.push('\n');
        out.push_str(&table(&["accepted name", "photos", "pixels", "both", "wrong answers"], &rows));
        let moved = self.stability();
        if !moved.is_empty() {
            let cells = |(change, same, moved): &(&str, f64, f64)| {
                vec![(*change).to_owned(), format!("{same:.3}"), format!("{moved:.2}")]
            };
            out.push('\n');
            out.push_str(&table(
                &["change", "same name", "CIEDE2000 (median)"],
                &moved.iter().map(cells).collect::<Vec<_>>(),
            ));
        }
        let [mask, color, inference] = self.milliseconds();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\nmedian time a photo and thread: mask {mask:.2} ms, color {color:.2} ms, inference {inference:.1} ms ({:.0} % of it)",
            (mask + color) / inference.max(1e-9) * 100.0
        );
        out
    }

    fn name(&self, name: BasicColor, [n, pixels, both]: [usize; 3]) -> Vec<String> {
        let mut wrong: Vec<_> = self.confusion.iter().filter(|((truth, _), _)| *truth == name).collect();
        wrong.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let wrong: Vec<String> = wrong.iter().map(|((_, said), n)| format!("{} {n}", word(said))).collect();
        let share = |right: usize| format!("{:.3}", right as f64 / n.max(1) as f64);
        vec![word(&name), n.to_string(), share(pixels), share(both), wrong.join(", ")]
    }
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// The upper median; 0 of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
