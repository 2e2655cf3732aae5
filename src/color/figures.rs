//! Figures on real photos: share of dominant names that the merchant's label allows, and time a photo.
//! Ignored by default: needs the photos (`VITRINE_PHOTOS`). Photos with id % 8 == 0 judge, the others tune;
//! `VITRINE_COLOR_DUMP=file` writes the tuning photos' colors for `scripts/fit_color_names.py`.

#![allow(clippy::unwrap_used)]

use super::{Colors, palette};
use crate::mask::segment;
use crate::photo::Photo;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn photos() -> Option<PathBuf> {
    let root = std::env::var_os("VITRINE_PHOTOS").map_or("../shared/data".into(), PathBuf::from);
    if root.join("color_names.csv").exists() {
        return Some(root);
    }
    eprintln!("SKIPPED: no photos under {}", root.display());
    None
}

fn column(rows: &mut csv::Reader<std::fs::File>, name: &str) -> usize {
    let headers = rows.headers().unwrap();
    headers.iter().position(|h| h == name).unwrap()
}

fn allowed_names(root: &Path) -> BTreeMap<String, String> {
    let mut rows = csv::Reader::from_path(root.join("color_names.csv")).unwrap();
    rows.records().map(|r| r.unwrap()).map(|r| (r[0].to_owned(), r[1].to_owned())).collect()
}

fn slug(colors: &Colors) -> String {
    format!("{:?}", colors.dominant[0].name).to_lowercase()
}

/// Right and judged photos of one set, counted a basic name (the first the label allows).
#[derive(Default)]
struct Score {
    right: usize,
    judged: usize,
    confusion: BTreeMap<(String, String), usize>,
    time: Duration,
}

fn run(root: &Path, set: &str, color: &str, dump: &mut String) -> [Score; 2] {
    let names = allowed_names(root);
    let mut rows = csv::Reader::from_path(root.join(set).join("labels.csv")).unwrap();
    let (id_at, color_at) = (column(&mut rows, "id"), column(&mut rows, color));
    let mut scores: [Score; 2] = Default::default();
    let every: usize = std::env::var("VITRINE_EVERY").map_or(1, |v| v.parse().unwrap());
    for (nth, row) in rows.records().enumerate() {
        let row = row.unwrap();
        let Some(allowed) = names.get(&row[color_at]) else {
            continue;
        };
        let id: u64 = row[id_at].parse().unwrap();
        let judging = id.is_multiple_of(8);
        if !judging && nth % every != 0 {
            continue;
        }
        let Ok(image) = image::open(root.join(set).join(&row[0])) else {
            continue;
        };
        let photo = Photo::from_rgb(image.to_rgb8(), None);
        let begun = Instant::now();
        let colors = palette(&photo, &segment(&photo, None), None);
        let score = &mut scores[usize::from(judging)];
        score.time += begun.elapsed();
        let said = slug(&colors);
        score.judged += 1;
        if allowed.split(' ').any(|a| a == said) {
            score.right += 1;
        } else {
            let truth = allowed.split(' ').next().unwrap_or_default().to_owned();
            *score.confusion.entry((truth, said)).or_default() += 1;
        }
        if !judging {
            let [l, a, b] = colors.dominant[0].lab;
            let weight = colors.confidence * colors.dominant[0].share;
            writeln!(dump, "{set},{id},{l},{a},{b},{weight},{allowed}").unwrap();
        }
    }
    scores
}

#[test]
#[ignore = "reads thousands of photos"]
fn names_against_merchant_labels() {
    let Some(root) = photos() else { return };
    let mut dump = String::from("set,id,l,a,b,weight,allowed\n");
    for (set, color) in [("catalog", "baseColour"), ("studio", "Colour")] {
        let scores = run(&root, set, color, &mut dump);
        for (score, split) in scores.iter().zip(["tuning", "judging"]) {
            let share = score.right as f64 / score.judged.max(1) as f64;
            let ms = score.time.as_secs_f64() * 1e3 / score.judged.max(1) as f64;
            println!("{set} {split}: {share:.3} of {}, {ms:.2} ms a photo", score.judged);
            let mut wrong: Vec<_> = score.confusion.iter().collect();
            wrong.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
            for ((truth, said), n) in wrong.into_iter().take(14) {
                print!("  {truth}>{said} {n}");
            }
            println!();
        }
    }
    if let Some(path) = std::env::var_os("VITRINE_COLOR_DUMP") {
        std::fs::write(path, dump).unwrap();
    }
}

#[test]
#[ignore = "reads large photos"]
fn time_at_full_size() {
    let Some(root) = photos() else { return };
    let mut times: BTreeMap<(u32, u32), Vec<[f64; 2]>> = BTreeMap::new();
    for file in std::fs::read_dir(root.join("large/images")).unwrap() {
        let image = image::open(file.unwrap().path()).unwrap().to_rgb8();
        let photo = Photo::from_rgb(image, None);
        let mut best = [f64::INFINITY; 2];
        for _ in 0..3 {
            let begun = Instant::now();
            let masks = segment(&photo, None);
            let middle = Instant::now();
            let colors = palette(&photo, &masks, None);
            assert!(!colors.dominant.is_empty());
            best[0] = best[0].min((middle - begun).as_secs_f64() * 1e3);
            best[1] = best[1].min(middle.elapsed().as_secs_f64() * 1e3);
        }
        let size = (photo.width(), photo.height());
        times.entry(size).or_default().push(best);
    }
    for (size, mut all) in times {
        all.sort_by(|a, b| (a[0] + a[1]).total_cmp(&(b[0] + b[1])));
        println!("{size:?}: median mask and color ms {:?} of {}", all[all.len() / 2], all.len());
    }
}
