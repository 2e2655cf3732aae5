//! What an evaluation tells: a table for people, one line of JSON for machines.

use super::metrics::Metrics;
use super::retrieval::{Itself, SameKind};
use crate::cli::term::{clean, table};
use serde::{Serialize, Serializer};
use std::fmt::Write as _;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) model_version: String,
    /// Photos looked at.
    pub(super) photos: usize,
    /// Photos that could not be read.
    pub(super) unreadable: usize,
    /// Lines of the labels file that could not be used.
    pub(super) rejected_rows: u64,
    pub(super) heads: Vec<HeadReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retrieval: Option<SameKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) self_retrieval: Option<Itself>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) color: Option<ColorReport>,
}

/// Figures of one head.
#[derive(Debug, Serialize)]
pub(super) struct HeadReport {
    pub(super) head: String,
    #[serde(flatten)]
    pub(super) metrics: Metrics,
    /// Photos whose label the head does not know; not judged.
    pub(super) unknown_labels: usize,
    /// Photos whose label has fewer photos than `--min-photos`; not judged.
    pub(super) rare: usize,
}

/// How often the name of the largest color is one the merchant's label accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ColorReport {
    /// Photos whose label names a color.
    pub(super) n: usize,
    /// Of these, with an accepted name.
    pub(super) accepted: usize,
}

impl ColorReport {
    fn share(self) -> Option<f64> {
        (self.n > 0).then(|| self.accepted as f64 / self.n as f64)
    }
}

impl Serialize for ColorReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({"n": self.n, "accepted": self.share()}).serialize(serializer)
    }
}

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "model {}: {} photos, {} unreadable, {} lines rejected\n",
            clean(&self.model_version),
            self.photos,
            self.unreadable,
            self.rejected_rows
        );
        let head = ["head", "n", "labels", "accuracy", "macro-F1", "coverage", "precision", "ECE", "unknown", "rare"];
        let rows: Vec<Vec<String>> = self.heads.iter().map(HeadReport::cells).collect();
        out.push_str(&table(&head, &rows));
        if let Some(found) = self.retrieval {
            let p = shown(found.precision_at_10);
            let _ = writeln!(out, "\nsame category among the 10 nearest: P@10 {p} ({} queries)", found.queries);
        }
        if let Some(found) = &self.self_retrieval {
            let each: Vec<String> = found.recall_at_1.iter().map(|(name, r)| format!("{name} {r:.3}")).collect();
            let _ = writeln!(
                out,
                "\na changed photo finds itself first, recall@1: {} ({} photos among {})",
                each.join(", "),
                found.photos,
                found.gallery
            );
        }
        if let Some(color) = self.color {
            let _ =
                writeln!(out, "\nlargest color has an accepted name: {} of {} photos", shown(color.share()), color.n);
        }
        out
    }
}

impl HeadReport {
    fn cells(&self) -> Vec<String> {
        let m = &self.metrics;
        let figures = [m.accuracy, m.macro_f1, m.coverage, m.precision_asserted, m.ece].map(shown);
        let mut cells = vec![clean(&self.head), m.n.to_string(), m.labels.to_string()];
        cells.extend(figures);
        cells.extend([self.unknown_labels.to_string(), self.rare.to_string()]);
        cells
    }
}

fn shown(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |f| format!("{f:.3}"))
}
