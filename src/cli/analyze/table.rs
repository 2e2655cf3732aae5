//! An analysis as text for a terminal: attributes with confidence, colors with swatches.

use crate::analyzer::Analysis;
use crate::attributes::Attribute;
use crate::cli::joint;
use crate::cli::term::{Paint, clean};
use crate::color::NamedColor;
use std::fmt::Write as _;

/// Widest name of a row.
const NAME: usize = 14;

/// Text of one analysis; the colors of `paint` only decorate, nothing is told by them alone.
pub(super) fn text(name: &str, analysis: &Analysis, paint: Paint) -> String {
    let Analysis { width, height, colors, .. } = analysis;
    let mut out = format!("{}  {width}x{height}\n", paint.bold(&clean(name)));
    for attribute in &analysis.attributes {
        row(&mut out, &attribute.name, &value(attribute, paint));
    }
    for (n, color) in colors.dominant.iter().enumerate() {
        row(&mut out, if n == 0 { "colors" } else { "" }, &swatch(color, paint));
    }
    for (n, color) in colors.background.iter().enumerate() {
        row(&mut out, if n == 0 { "background" } else { "" }, &swatch(color, paint));
    }
    let mut seen = format!("{:.0} % product, {:.0} % skin", 100.0 * colors.product_share, 100.0 * colors.skin_share);
    let _ = write!(seen, ", {} background, confidence {:.2}", joint::word(&colors.background_kind), colors.confidence);
    if colors.multicolor {
        seen.push_str(", multicolor");
    }
    for flag in &colors.flags {
        let _ = write!(seen, ", {}", joint::word(flag));
    }
    row(&mut out, "pixels", &seen);
    row(&mut out, "model", &paint.faint(&clean(&analysis.model_version)));
    out
}

fn row(out: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {:<NAME$}  {value}", clean(name));
}

fn value(attribute: &Attribute, paint: Paint) -> String {
    match &attribute.value {
        Some(value) => format!("{:<22} {:.2}", clean(value), attribute.confidence),
        None => {
            let candidate = |c: &crate::attributes::Candidate| format!("{} {:.2}", clean(&c.value), c.confidence);
            let list: Vec<String> = attribute.candidates.iter().map(candidate).collect();
            format!("{} {}", paint.faint("unsure:"), list.join(", "))
        }
    }
}

fn swatch(color: &NamedColor, paint: Paint) -> String {
    format!(
        "{}{:<8} {:<12} {} {:>3.0} %  {}",
        paint.swatch(&color.hex),
        joint::word(&color.name),
        clean(&color.retail_name),
        color.hex,
        100.0 * color.share,
        paint.faint(&clean(&color.shade)),
    )
}
