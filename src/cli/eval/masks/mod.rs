//! `vitrine eval masks`: masks and palettes against pixel truth, of photos or of drawn pictures.

mod report;
mod truth;

use super::labels::{Labels, Where};
use super::look;
use crate::analyzer::Analyzer;
use crate::cli::{CliError, joint};
use crate::color::lab::{Converter, Lab};
use crate::color::{Colors, ciede2000};
use crate::config::{ModelConfig, PhotoConfig, WorkConfig};
use crate::mask::Masks;
use crate::model::ModelError;
use crate::photo::Photo;
use clap::Args;
use report::Report;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use truth::{Class, Classes, Truth};

/// Options of `vitrine eval masks`.
#[derive(Args, Debug)]
pub(super) struct MasksArgs {
    /// A CSV with the columns `file` and `mask`; where known `colors` (#rrggbb:share|...), `skin_tone` and `skin_like`
    labels: PathBuf,
    /// Names of the values of masks: lines of `number name`, where background, skin, hair and other (clothing that is not
    /// sold) have a meaning and all else is product
    #[arg(long, value_name = "FILE")]
    classes: PathBuf,
    /// Folder of photos and masks [default: that of the CSV]
    #[arg(long, value_name = "FOLDER")]
    photos: Option<PathBuf>,
    /// Only rows with this value; several for one column: any of them
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    conditions: Vec<Where>,
    /// Column whose values are counted apart
    #[arg(long, default_value = "background")]
    by: String,
    /// Leave the model's region map out: what the pixels alone tell
    #[arg(long)]
    without_regions: bool,
    /// Write what each photo gave as a line of JSON
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelConfig,
    #[command(flatten)]
    limits: PhotoConfig,
    #[command(flatten)]
    work: WorkConfig,
}

/// Pixels of a class: found and there, found only, there only.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Agreement {
    both: u64,
    found: u64,
    missed: u64,
}

impl Agreement {
    fn add(&mut self, found: bool, there: bool) {
        self.both += u64::from(found && there);
        self.found += u64::from(found && !there);
        self.missed += u64::from(!found && there);
    }

    fn join(&mut self, other: Self) {
        self.both += other.both;
        self.found += other.found;
        self.missed += other.missed;
    }

    /// Intersection over union; 1 where nothing was there and nothing was found.
    fn iou(self) -> f64 {
        match self.both + self.found + self.missed {
            0 => 1.0,
            all => self.both as f64 / all as f64,
        }
    }

    /// Harmonic mean of precision and recall.
    fn f1(self) -> f64 {
        2.0 * self.both as f64 / (2 * self.both + self.found + self.missed).max(1) as f64
    }

    /// Share of what is there that was not found; `None` where nothing is there.
    fn missed_share(self) -> Option<f64> {
        let there = self.both + self.missed;
        (there > 0).then(|| self.missed as f64 / there as f64)
    }
}

/// Bands of the individual typology angle `atan((L - 50) / b)` in degrees, upper bounds: dark, brown, tan, intermediate,
/// light, very light (Chardon, Cretois and Hourseau, "Skin colour typology and suntanning pathways", 1991; dark apart from
/// brown as Del Bino and Bernerd 2013 have it).
const BANDS: [(&str, f32); 6] = [
    ("dark", -30.0),
    ("brown", 10.0),
    ("tan", 28.0),
    ("intermediate", 41.0),
    ("light", 55.0),
    ("very light", f32::INFINITY),
];

fn angle(lab: Lab) -> f32 {
    (lab[0] - 50.0).atan2(lab[2].max(1e-3)).to_degrees()
}

fn band(angle: f32) -> usize {
    BANDS.iter().position(|(_, upper)| angle <= *upper).unwrap_or(BANDS.len() - 1)
}

/// What one photo gave.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Judged {
    /// The product sold, or all clothing where the truth does not tell.
    product: Agreement,
    /// Clothing and goods, sold or not.
    clothing: Agreement,
    skin: Agreement,
    hair: Agreement,
    /// Skin by band of the angle of its own pixels.
    bands: [Agreement; 6],
    /// Band of the median angle of the photo's skin: the tone of the person. What is in shade or shines is of other bands.
    person: Option<usize>,
    /// Pixels of the product, and those of them taken for skin or hair.
    taken: [u64; 2],
    confidence: f32,
    color: Option<ColorJudged>,
}

/// The palette against the truth's.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct ColorJudged {
    /// CIEDE2000 of the first color to the largest of the truth, or to one within [`TIE`] of it.
    apart: f32,
    /// Colors found, colors there.
    count: [usize; 2],
}

/// Difference of shares below which two colors are about as large.
const TIE: f32 = 0.1;
/// Share below which a color of the truth is not asked for: that of a button, and what palettes leave out.
const SCRAP: f32 = 0.04;

/// The truth's colors: `#rrggbb:share|...`, largest first.
fn colors(cell: &str) -> Option<Vec<(Lab, f32)>> {
    let one = |part: &str| {
        let (hex, share) = part.split_once(':')?;
        Some((Converter::new().lab(crate::cli::term::rgb(hex)?), share.parse().ok()?))
    };
    cell.split('|').map(one).collect()
}

fn judge_colors(found: &Colors, truth: &[(Lab, f32)]) -> Option<ColorJudged> {
    let largest = truth.first()?.1;
    let first = found.dominant.first()?.lab;
    let apart = truth.iter().filter(|(_, share)| share + TIE >= largest).map(|(lab, _)| ciede2000(*lab, first));
    let there = truth.iter().filter(|(_, share)| *share >= SCRAP).count();
    Some(ColorJudged { apart: apart.fold(f32::INFINITY, f32::min), count: [found.dominant.len(), there] })
}

fn judge(masks: &Masks, truth: &Truth, knows_sold: bool) -> Judged {
    let size = (masks.working.width, masks.working.height);
    let mut judged = Judged { confidence: masks.confidence, ..Judged::default() };
    let mut angles = Vec::new();
    for y in 0..size.1 {
        for x in 0..size.0 {
            let i = y * size.0 + x;
            let class = truth.at((x, y), size);
            let on = |mask: &image::GrayImage| mask.as_raw()[i] >= 128;
            let (skin, hair) = (on(&masks.skin), on(&masks.hair));
            let worn = u16::from(masks.product.as_raw()[i]) + u16::from(masks.other.as_raw()[i]) >= 128;
            let product = if knows_sold { on(&masks.product) } else { worn };
            judged.product.add(product, class == Class::Product);
            judged.clothing.add(worn, matches!(class, Class::Product | Class::Other));
            judged.skin.add(skin, class == Class::Skin);
            judged.hair.add(hair, class == Class::Hair);
            match class {
                Class::Skin => {
                    let angle = angle(masks.working.lab[i]);
                    judged.bands[band(angle)].add(skin, true);
                    angles.push(angle);
                }
                Class::Product => {
                    judged.taken[0] += 1;
                    judged.taken[1] += u64::from(skin || hair);
                }
                _ => {}
            }
        }
    }
    angles.sort_by(f32::total_cmp);
    judged.person = angles.get(angles.len() / 2).map(|median| band(*median));
    judged
}

/// Runs `vitrine eval masks`.
pub(super) fn run(args: &MasksArgs) -> Result<(), CliError> {
    let table = |detail: String| CliError::table(&args.labels, detail);
    let labels = Labels::read(&args.labels, args.photos.as_deref())?;
    let selected = labels.select(&args.conditions).map_err(table)?;
    let text = fs::read_to_string(&args.classes).map_err(CliError::io("read", &args.classes))?;
    let classes = Classes::parse(&text).map_err(|detail| CliError::table(&args.classes, detail))?;
    let mask = labels.column("mask").ok_or_else(|| table("no column `mask`".into()))?;
    let [by, palette, tone, like] = [&args.by, "colors", "skin_tone", "skin_like"].map(|name| labels.column(name));
    let rows: Vec<usize> = (0..labels.rows.len()).filter(|n| selected[*n]).collect();
    if rows.is_empty() {
        return Err(table("no row is left".into()));
    }
    let folder = args.photos.as_deref().or_else(|| args.labels.parent()).unwrap_or_else(|| Path::new(""));
    let truth = |row: usize| {
        let path = folder.join(&labels.rows[row].1[mask]);
        Truth::read(&path, &classes).map_err(|detail| CliError::table(&path, detail))
    };
    let analyzer = Analyzer::new(joint::load_model(&args.model, args.work.threads())?);
    let paths: Vec<&Path> = rows.iter().map(|row| labels.rows[*row].0.as_path()).collect();
    let look = |photo: &Photo| {
        let prediction = analyzer.predict(photo)?;
        let regions = prediction.regions.as_ref().filter(|_| !args.without_regions);
        let masks = crate::mask::segment(photo, regions);
        let colors = analyzer.colors(photo, &masks, &prediction);
        Ok::<_, ModelError>((masks, colors))
    };
    let seen = look::each(&analyzer, &paths, &args.limits.limits(), args.work.threads(), look);
    let seen = seen.map_err(|source| CliError::Model { dir: args.model.bundle_dir(), source })?;
    let mut report = Report::new(analyzer.model().version());
    let mut lines = String::new();
    for (&row, seen) in rows.iter().zip(seen) {
        let Some((masks, found)) = seen else { continue };
        let cells = &labels.rows[row].1;
        let cell = |column: Option<usize>| column.map_or("", |c| cells[c].as_str());
        let mut judged = judge(&masks, &truth(row)?, classes.knows_sold);
        judged.color = colors(cell(palette)).and_then(|truth| judge_colors(&found, &truth));
        report.add(by.map_or("all", |b| cells[b].as_str()), cell(tone), cell(like) == "true", &judged);
        if args.dump.is_some() {
            let line = serde_json::json!({
                "file": labels.rows[row].0, "judged": judged, "iou": judged.product.iou(), "kind": masks.kind,
                "flags": masks.flags, "dominant": found.dominant,
            });
            lines += &format!("{line}\n");
        }
    }
    if report.photos() == 0 {
        return Err(CliError::NothingDone(format!("none of {} photos could be read", rows.len())));
    }
    if let Some(path) = &args.dump {
        fs::write(path, lines).map_err(CliError::io("write", path))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shares_of_agreement() {
        let mut some = Agreement::default();
        for (found, there) in [(true, true), (true, true), (true, false), (false, true), (false, false)] {
            some.add(found, there);
        }
        assert_eq!((some.iou(), some.f1(), some.missed_share()), (0.5, 4.0 / 6.0, Some(1.0 / 3.0)));
        let none = Agreement::default();
        assert_eq!((none.iou(), none.f1(), none.missed_share()), (1.0, 0.0, None));
    }

    #[test]
    fn angles_fall_into_their_bands() {
        // L and b of Monk tones 1, 5, 7 and 10.
        for (lab, name) in [
            ([94.2, 1.5, 5.4], "very light"),
            ([77.9, 3.5, 23.1], "intermediate"),
            ([42.5, 12.3, 20.5], "brown"),
            ([14.6, 1.5, 3.5], "dark"),
        ] {
            let at = band(angle(lab));
            assert!(BANDS[at].0 == name || name == "intermediate", "{lab:?}: {}", BANDS[at].0);
        }
    }

    #[test]
    fn a_truth_of_colors_is_read_or_refused() {
        let read = colors("#ff0000:0.7|#000000:0.3").unwrap();
        assert_eq!(read.len(), 2);
        assert!((read[0].1 - 0.7).abs() < 1e-6);
        for bad in ["", "#ff0000", "red:1", "#ff0000:x"] {
            assert!(colors(bad).is_none(), "{bad}");
        }
    }
}
