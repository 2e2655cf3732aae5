//! The figures as a table and as a drawing.

use super::figures::{Figures, Latency, median};
use crate::cli::term::clean;
use std::fmt::Write;

/// A table for people.
pub(super) fn text(figures: &Figures) -> String {
    let mut out = String::new();
    for (name, value) in rows(figures) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<34}{}", clean(&value));
    }
    out
}

fn rows(f: &Figures) -> Vec<(String, String)> {
    let mut rows = vec![(
        "photos".to_owned(),
        format!("{}, {:.0} KB on average; {} threads look at them", f.photos, f.mean_bytes as f64 / 1e3, f.threads),
    )];
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(engine) = &f.engine {
        row("engine", engine.clone());
    }
    let bare = median(&f.engine_per_s);
    if bare > 0.0 {
        row("bare engine", format!("{} photos/s", spread(&f.engine_per_s)));
    }
    let upload = median(&f.upload_per_s);
    if upload > 0.0 {
        let share = if bare > 0.0 { format!(", {:.2} of the bare engine", upload / bare) } else { String::new() };
        row("upload to searchable", format!("{} photos/s{share}", spread(&f.upload_per_s)));
    }
    if let Some(idle) = &f.idle {
        row("one upload", latency(&idle.latency));
        row("  of it not inference", format!("{:.1} ms", idle.not_inference_ms));
        for (stage, took) in &idle.stages {
            row(&format!("  {stage}"), latency(took));
        }
    }
    for similar in &f.similar {
        let value = format!("{} requests/s, {}", spread(&similar.per_s), latency(&similar.latency));
        row(&format!("similar, {}", connections(similar.connections)), value);
    }
    if let Some(s) = &f.storefront {
        row(&format!("{} searches/s, server idle", s.searches_per_s), latency(&s.idle));
        row(&format!("{} searches/s beside uploads", s.searches_per_s), latency(&s.busy));
        let kept = s.uploads_beside_per_s / s.uploads_alone_per_s.max(f64::MIN_POSITIVE);
        let value = format!("{:.1} photos/s, {:.1} alone: {kept:.2}", s.uploads_beside_per_s, s.uploads_alone_per_s);
        row("uploads beside searches", value);
    }
    if let Some(o) = &f.overload {
        row("overload", format!("{:.0} photos/s offered, {:.0} can be", o.offered_per_s, o.capacity_per_s));
        row("  accepted", format!("{}, {}", o.accepted, latency(&o.accepted_latency)));
        row("  refused", format!("{}, {}", o.refused, latency(&o.refused_latency)));
        let [least, middle, most] = o.retry_after_s;
        row("  told to come back after", format!("{least} to {most} s, median {middle} s"));
        let recovered = o.recovered_s.map_or_else(|| "not within a minute".to_owned(), |s| format!("{s:.1} s after"));
        row("  as fast as at rest", recovered);
    }
    for (when, bytes) in &f.resident_bytes {
        row(&format!("resident memory, {when}"), format!("{:.0} MB", *bytes as f64 / 1e6));
    }
    for (what, count) in &f.unexpected {
        row(&format!("unexpected: {what}"), count.to_string());
    }
    rows
}

fn connections(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

fn latency(latency: &Latency) -> String {
    format!("p50 {:.2} ms, p99 {:.2} ms", latency.p50_ms, latency.p99_ms)
}

/// Median, and from where to where.
fn spread(values: &[f64]) -> String {
    let (least, most) = values.iter().fold((f64::MAX, 0.0_f64), |(l, m), v| (l.min(*v), m.max(*v)));
    if values.len() < 2 {
        format!("{:.1}", median(values))
    } else {
        format!("{:.1} ({least:.1} to {most:.1})", median(values))
    }
}

/// Bars that are compared: title, unit, and each with its name.
type Group = (&'static str, &'static str, Vec<(String, f64)>);

/// Bars: where the time of one upload goes, and rates.
pub(super) fn svg(f: &Figures) -> String {
    const WIDTH: f64 = 760.0;
    const LEFT: f64 = 210.0;
    const ROW: f64 = 22.0;
    let mut groups: Vec<Group> = Vec::new();
    let rates = [("bare engine", median(&f.engine_per_s)), ("upload to searchable", median(&f.upload_per_s))];
    groups.push(("photos a second", "", rates.map(|(n, v)| (n.to_owned(), v)).into()));
    if let Some(idle) = &f.idle {
        let stages = idle.stages.iter().filter(|(stage, _)| *stage != "total");
        groups.push(("one upload, median", " ms", stages.map(|(n, l)| (n.clone(), l.p50_ms)).collect()));
    }
    let searches = f.similar.iter().map(|s| (connections(s.connections), median(&s.per_s)));
    groups.push(("similar products, requests a second", "", searches.collect()));
    if let Some(s) = &f.storefront {
        let bars = [("idle", s.idle.p99_ms), ("beside uploads", s.busy.p99_ms)].map(|(n, v)| (n.to_owned(), v));
        groups.push(("50 searches a second, p99", " ms", bars.into()));
    }
    groups.iter_mut().for_each(|(_, _, bars)| bars.retain(|(_, value)| *value > 0.0));
    groups.retain(|(_, _, bars)| !bars.is_empty());
    let (mut body, mut y) = (String::new(), 10.0);
    for (title, unit, bars) in &groups {
        y += ROW;
        let _ = write!(body, r#"<text x="10" y="{y}" font-weight="bold">{title}</text>"#);
        let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        for (name, value) in bars {
            y += ROW;
            let long = (WIDTH - LEFT - 110.0) * value / most;
            let top = y - 14.0;
            let end = LEFT + long + 6.0;
            let _ = write!(
                body,
                r##"<text x="24" y="{y}">{name}</text><rect x="{LEFT}" y="{top}" width="{long:.1}" height="16" fill="#2a6f97"/><text x="{end:.1}" y="{y}">{value:.1}{unit}</text>"##
            );
        }
        y += ROW / 2.0;
    }
    let height = y + 14.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="#ffffff"/>{body}</svg>"##
    )
}
