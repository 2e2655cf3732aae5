//! The figures of `vitrine eval masks`: tables for people, one line of JSON for machines.

use super::{Agreement, BANDS, Judged};
use crate::cli::term::{clean, table};
use crate::mask::LOW_CONFIDENCE;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Below this intersection over union a mask has failed.
const FAILED: f64 = 0.4;

/// Photos of one group.
#[derive(Debug, Default)]
struct Group {
    ious: Vec<f64>,
    /// Of clothing and goods, sold or not.
    clothing: Vec<f64>,
    /// Failures, those of them with low confidence, and photos with low confidence.
    failed: [usize; 3],
    apart: Vec<f64>,
    exact: usize,
}

impl Group {
    fn add(&mut self, judged: &Judged) {
        let iou = judged.product.iou();
        self.ious.push(iou);
        self.clothing.push(judged.clothing.iou());
        let (failed, low) = (iou < FAILED, judged.confidence < LOW_CONFIDENCE);
        for (count, yes) in self.failed.iter_mut().zip([failed, failed && low, low]) {
            *count += usize::from(yes);
        }
        if let Some(color) = judged.color {
            self.apart.push(f64::from(color.apart));
            self.exact += usize::from(color.count[0] == color.count[1]);
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    model_version: String,
    groups: BTreeMap<String, Group>,
    skin: Agreement,
    hair: Agreement,
    bands: [Agreement; 6],
    /// Skin by band of the person.
    people: [Agreement; 6],
    /// Skin by the tone that the labels state.
    tones: BTreeMap<u8, Agreement>,
    /// Pixels of products, and those taken for skin or hair: colored like skin, and others.
    taken: [[u64; 2]; 2],
}

/// Value at a share of the sorted values; NaN of nothing.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Largest less smallest.
fn spread(shares: impl Iterator<Item = f64>) -> f64 {
    let (low, high) = shares.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    (high - low).max(0.0)
}

impl Report {
    pub(super) fn new(version: &str) -> Self {
        Self { model_version: version.to_owned(), ..Self::default() }
    }

    pub(super) fn add(&mut self, group: &str, tone: &str, like: bool, judged: &Judged) {
        self.groups.entry(group.to_owned()).or_default().add(judged);
        if group != "all" {
            self.groups.entry("all".to_owned()).or_default().add(judged);
        }
        self.skin.join(judged.skin);
        self.hair.join(judged.hair);
        self.bands.iter_mut().zip(judged.bands).for_each(|(sum, b)| sum.join(b));
        if let Some(band) = judged.person {
            self.people[band].join(judged.skin);
        }
        if let Ok(tone) = tone.parse() {
            self.tones.entry(tone).or_default().join(judged.skin);
        }
        self.taken[usize::from(!like)].iter_mut().zip(judged.taken).for_each(|(sum, n)| *sum += n);
    }

    /// Photos judged.
    pub(super) fn photos(&self) -> usize {
        self.groups.get("all").map_or(0, |g| g.ious.len())
    }

    fn missed_by_tone(&self) -> Vec<(u8, f64)> {
        self.tones.iter().filter_map(|(tone, skin)| Some((*tone, skin.missed_share()?))).collect()
    }

    /// Name, pixels, share missed.
    fn missed_by_band(bands: &[Agreement; 6]) -> Vec<(&'static str, u64, f64)> {
        let one = |((name, _), skin): (&(&'static str, f32), &Agreement)| {
            Some((*name, skin.both + skin.missed, skin.missed_share()?))
        };
        BANDS.iter().zip(bands).filter_map(one).collect()
    }

    fn taken_shares(&self) -> [f64; 2] {
        self.taken.map(|[all, taken]| taken as f64 / all.max(1) as f64)
    }

    /// For machines.
    pub(super) fn json(&self) -> serde_json::Value {
        let group = |g: &Group| {
            let [failed, flagged, low] = g.failed;
            json!({"n": g.ious.len(), "iou_median": quantile(&g.ious, 0.5), "iou_p05": quantile(&g.ious, 0.05),
                "clothing_iou_median": quantile(&g.clothing, 0.5), "clothing_iou_p05": quantile(&g.clothing, 0.05),
                "failed": failed, "failed_flagged": flagged, "low_confidence": low,
                "ciede2000_median": number(quantile(&g.apart, 0.5)), "ciede2000_p95": number(quantile(&g.apart, 0.95)),
                "count_exact": number(g.exact as f64 / g.apart.len() as f64)})
        };
        let groups: BTreeMap<_, _> = self.groups.iter().map(|(name, g)| (name, group(g))).collect();
        let bands = |bands: &[Agreement; 6]| -> Vec<_> {
            let listed = Self::missed_by_band(bands).into_iter();
            listed.map(|(name, pixels, missed)| json!({"band": name, "pixels": pixels, "missed": missed})).collect()
        };
        let tones: Vec<_> = self.missed_by_tone().into_iter().map(|(t, m)| json!({"tone": t, "missed": m})).collect();
        let [like, unlike] = self.taken_shares();
        json!({"model_version": self.model_version, "product": groups, "skin_f1": self.skin.f1(), "skin": self.skin,
            "hair_f1": self.hair.f1(), "skin_missed_by_ita": bands(&self.bands),
            "skin_missed_by_ita_of_person": bands(&self.people), "skin_missed_by_tone": tones,
            "product_taken_for_skin": {"like_skin": like, "other": unlike}})
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("model {}: {} photos\n\n", clean(&self.model_version), self.photos());
        let head = [
            "product",
            "photos",
            "IoU median",
            "5 %",
            "clothing",
            "5 %",
            "failed (< 0.4)",
            "flagged",
            "low confidence",
            "dE00 median",
            "95 %",
            "count exact",
        ];
        let cells = |(name, g): (&String, &Group)| {
            let [failed, flagged, low] = g.failed.map(|n| n.to_string());
            let exact = g.exact as f64 / g.apart.len() as f64;
            let measured = [(&g.ious, 0.5), (&g.ious, 0.05), (&g.clothing, 0.5), (&g.clothing, 0.05)];
            let [median, low5, worn, worn5] = measured.map(|(ious, share)| format!("{:.3}", quantile(ious, share)));
            let colors = [quantile(&g.apart, 0.5), quantile(&g.apart, 0.95), exact];
            let colors = colors.map(|v| if v.is_finite() { format!("{v:.2}") } else { "-".into() });
            let [de, de95, exact] = colors;
            vec![
                clean(name),
                g.ious.len().to_string(),
                median,
                low5,
                worn,
                worn5,
                failed,
                flagged,
                low,
                de,
                de95,
                exact,
            ]
        };
        out.push_str(&table(&head, &self.groups.iter().map(cells).collect::<Vec<_>>()));
        let precision = self.skin.both as f64 / (self.skin.both + self.skin.found).max(1) as f64;
        let recall = 1.0 - self.skin.missed_share().unwrap_or(f64::NAN);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\nskin: F1 {:.3} (precision {precision:.3}, recall {recall:.3}); hair: F1 {:.3}",
            self.skin.f1(),
            self.hair.f1()
        );
        for (what, bands) in [("pixel", &self.bands), ("person", &self.people)] {
            let bands = Self::missed_by_band(bands);
            let listed: Vec<String> = bands.iter().map(|(name, _, m)| format!("{name} {:.1} %", 100.0 * m)).collect();
            let apart = 100.0 * spread(bands.iter().map(|b| b.2));
            let _ = writeln!(out, "skin missed, by ITA of the {what}: {}; spread {apart:.1}", listed.join(", "));
        }
        let tones = self.missed_by_tone();
        if !tones.is_empty() {
            let listed: Vec<String> = tones.iter().map(|(t, m)| format!("{t}: {:.1} %", 100.0 * m)).collect();
            let apart = 100.0 * spread(tones.iter().map(|t| t.1));
            let _ = writeln!(out, "skin missed, by Monk tone: {}; spread {apart:.1}", listed.join(", "));
        }
        let [like, unlike] = self.taken_shares().map(|v| 100.0 * v);
        let _ = writeln!(
            out,
            "product taken for skin or hair: {like:.1} % of what is colored like skin, {unlike:.1} % of the rest"
        );
        out
    }
}

/// JSON has no NaN: what was not measured is null.
fn number(value: f64) -> serde_json::Value {
    if value.is_finite() { json!(value) } else { serde_json::Value::Null }
}
