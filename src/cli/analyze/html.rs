//! The report as one page that needs nothing but itself: no script, no font, no address. Everything that comes from
//! a file name, a label or a model is escaped.

use super::overlay::{Figures, TINTS};
use crate::analyzer::Analysis;
use crate::attributes::Attribute;
use crate::cli::joint;
use crate::cli::term::rgb;
use crate::color::{ColorSource, NamedColor};
use std::fmt::Write as _;

const STYLE: &str = include_str!("report.css");

/// The end of the page.
pub(super) const FOOT: &str = "</main>\n</body>\n</html>\n";

/// The page up to its first photo.
pub(super) fn head(model_version: &str) -> String {
    let tints: String = TINTS.iter().map(|(name, color)| format!("--{name}: {}; ", css(*color))).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Vitrine report</title>\n\
         <style>\n:root {{ {tints}}}\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Vitrine report</h1><p>model <code>{}</code></p></header>\n<main>\n",
        escape(model_version)
    )
}

/// One photo.
pub(super) fn section(name: &str, analysis: &Analysis, figures: &Figures) -> String {
    let Analysis { width, height, sha256, colors, .. } = analysis;
    let mut out = format!(
        "<section>\n<h2>{}</h2>\n<p class=\"about\">{width} × {height} pixels · sha256 <code>{}</code></p>\n<div class=\"row\">\n",
        escape(name),
        escape(sha256.get(..16).unwrap_or(sha256)),
    );
    photo_and_masks(&mut out, name, analysis, figures);
    out.push_str("<div class=\"block\"><h3>Colors</h3>\n");
    strip(&mut out, &colors.dominant);
    palette(&mut out, &colors.dominant);
    if !colors.background.is_empty() {
        out.push_str("<h4>Background</h4>\n");
        palette(&mut out, &colors.background);
    }
    notes(&mut out, analysis);
    out.push_str("</div>\n<div class=\"block\"><h3>Attributes</h3>\n<table class=\"attributes\">\n");
    for attribute in &analysis.attributes {
        attribute_rows(&mut out, attribute);
    }
    out.push_str("</table></div>\n</div>\n");
    steps(&mut out, figures);
    out.push_str("</section>\n");
    out
}

// Writing to a String cannot fail: the results of `write!` below are dropped.

fn photo_and_masks(out: &mut String, name: &str, analysis: &Analysis, figures: &Figures) {
    let Figures { width, height, photo, layers, .. } = figures;
    let colors = &analysis.colors;
    let _ = writeln!(
        out,
        "<figure><img src=\"{photo}\" width=\"{width}\" height=\"{height}\" alt=\"{}\"><figcaption>Photo</figcaption></figure>\n\
         <figure class=\"masks\">",
        escape(name)
    );
    for (class, _) in TINTS {
        let share = if class == "product" { format!(" {:.0} %", 100.0 * colors.product_share) } else { String::new() };
        let _ = writeln!(out, "<label class=\"{class}\"><input type=\"checkbox\" checked> {class}{share}</label>");
    }
    let _ = write!(out, "<div class=\"stack\"><img src=\"{photo}\" width=\"{width}\" height=\"{height}\" alt=\"\">");
    for ((class, _), layer) in TINTS.iter().zip(layers) {
        let _ = write!(out, "<img class=\"layer {class}\" src=\"{layer}\" alt=\"{class} mask\">");
    }
    let kind = joint::word(&colors.background_kind);
    let _ = writeln!(
        out,
        "</div>\n<figcaption>Masks · {} background · confidence {:.2}</figcaption></figure>",
        escape(&kind),
        colors.confidence
    );
}

/// What the masks came from, small and side by side.
fn steps(out: &mut String, figures: &Figures) {
    out.push_str("<details class=\"steps\"><summary>How the masks were made</summary>\n<div>\n");
    for (name, plane) in &figures.steps {
        let told = match *name {
            "distance" => "Distance to the border’s surface",
            "edges" => "Edges that stop the flood",
            "flood" => "Flooded from the border",
            "shadow" => "Cast shadow",
            _ => "Opened (white), mended (grey)",
        };
        let _ = writeln!(out, "<figure><img src=\"{plane}\" alt=\"{name}\"><figcaption>{told}</figcaption></figure>");
    }
    if let Some(map) = &figures.map {
        let _ = writeln!(
            out,
            "<figure><img src=\"{map}\" alt=\"region map\"><figcaption>Region map of the model</figcaption></figure>"
        );
    }
    out.push_str("</div></details>\n");
}

/// All colors in one bar, as wide as their shares.
fn strip(out: &mut String, colors: &[NamedColor]) {
    out.push_str("<div class=\"strip\">");
    for color in colors {
        let _ =
            write!(out, "<i style=\"flex-grow:{:.3};background:{}\"></i>", color.share.max(0.0), safe_hex(&color.hex));
    }
    out.push_str("</div>\n");
}

fn palette(out: &mut String, colors: &[NamedColor]) {
    out.push_str("<ul class=\"palette\">\n");
    for color in colors {
        let _ = writeln!(
            out,
            "<li><i style=\"background:{}\"></i><span><b>{}</b> {} <small>{} · {}</small></span><code>{}</code><em>{:.0} %</em></li>",
            safe_hex(&color.hex),
            escape(&joint::word(&color.name)),
            escape(&color.retail_name),
            escape(&color.shade),
            named_by(color.source),
            escape(&color.hex),
            100.0 * color.share
        );
    }
    out.push_str("</ul>\n");
}

fn named_by(source: ColorSource) -> &'static str {
    match source {
        ColorSource::Pixels => "named by its pixels",
        ColorSource::Model => "named by the model",
        ColorSource::Both => "pixels and model agree",
    }
}

fn notes(out: &mut String, analysis: &Analysis) {
    let colors = &analysis.colors;
    let multicolor = colors.multicolor.then(|| "multicolor".to_owned());
    let notes: Vec<String> = multicolor.into_iter().chain(colors.flags.iter().map(joint::word)).collect();
    if !notes.is_empty() {
        let _ = writeln!(out, "<p class=\"notes\">{}</p>", escape(&notes.join(" · ")));
    }
}

fn attribute_rows(out: &mut String, attribute: &Attribute) {
    let name = escape(&attribute.name.replace('_', " "));
    match &attribute.value {
        Some(value) => bar(out, &name, value, attribute.confidence, "sure"),
        None => {
            for (n, c) in attribute.candidates.iter().enumerate() {
                bar(out, if n == 0 { &name } else { "" }, &format!("{}?", c.value), c.confidence, "unsure");
            }
        }
    }
}

fn bar(out: &mut String, name: &str, value: &str, confidence: f32, class: &str) {
    let percent = 100.0 * confidence.clamp(0.0, 1.0);
    let _ = writeln!(
        out,
        "<tr class=\"{class}\"><th>{name}</th><td>{}</td><td class=\"bar\"><i style=\"width:{percent:.0}%\"></i></td><td>{confidence:.2}</td></tr>",
        escape(value)
    );
}

fn css([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Only a color may stand where a color stands in a style.
fn safe_hex(hex: &str) -> String {
    rgb(hex).map_or_else(|| "transparent".to_owned(), css)
}

/// Text for element content and double-quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis(hostile: &str) -> Analysis {
        let color = serde_json::json!({"hex": hostile, "lab": [0, 0, 0], "name": "red", "retail_name": hostile,
            "shade": hostile, "share": 1.0, "source": "pixels"});
        let value = serde_json::json!({"sha256": hostile, "width": 1, "height": 1, "model_version": hostile,
            "attributes": [
                {"name": hostile, "value": hostile, "confidence": 0.9, "source": "model"},
                {"name": hostile, "value": null, "confidence": 0.4, "source": "model",
                 "candidates": [{"value": hostile, "confidence": 0.4}]}],
            "colors": {"dominant": [color], "background": [color], "background_kind": "plain", "product_share": 0.5,
                "skin_share": 0.1, "multicolor": true, "confidence": 0.5, "flags": ["low_contrast"]}});
        match serde_json::from_value(value) {
            Ok(analysis) => analysis,
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn nothing_foreign_gets_into_the_markup() {
        let hostile = "</style><script>alert('x')</script>\" onload=\"x";
        let figures = Figures {
            width: 1,
            height: 1,
            photo: "data:p".into(),
            layers: ["data:a", "data:b", "data:c", "data:d", "data:e"].map(str::to_owned),
            steps: vec![("flood", "data:f".into())],
            map: Some("data:m".into()),
        };
        let page = head(hostile) + &section(hostile, &analysis(hostile), &figures) + FOOT;
        assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
        assert_eq!(page.matches("</style>").count(), 1);
        assert!(page.contains("background:transparent"));
        // Every element that is opened is closed, of those that must be.
        for tag in ["section", "div", "figure", "ul", "li", "table", "tr", "th", "span", "label", "p", "i", "details"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(escape("a<b> & \"c\" 'd'\u{0}"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;\u{fffd}");
    }
}
