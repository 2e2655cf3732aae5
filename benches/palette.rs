//! What masks and colors cost beside the inference, on one core: `cargo bench --bench palette [photos...]`.
//! Photos are those of `testdata/` where none are named. Times are medians over the photos, of the best of five runs each.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/timing.rs"]
mod timing;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use timing::{best, median};
use vitrine::color::palette;
use vitrine::mask::segment;
use vitrine::model::{EngineConfig, Model};
use vitrine::photo::{Limits, Photo};

/// The photo as it is, and with sides of 224 pixels, as the model sees it.
fn sizes(photo: Photo) -> [Photo; 2] {
    let small = image::imageops::resize(photo.rgb(), 224, 224, image::imageops::FilterType::Triangle);
    [photo, Photo::from_rgb(small, None)]
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named: Vec<PathBuf> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let files = if named.is_empty() {
        let photos = std::fs::read_dir(root.join("testdata/photos")).unwrap().map(|e| e.unwrap().path());
        photos.filter(|p| p.extension().is_some_and(|e| e == "jpg")).collect()
    } else {
        named
    };
    let model = Model::load(&root.join("models/default"), &EngineConfig::tract()).expect("models/default");
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    let mut inference = Vec::new();
    for file in files {
        let photo = Photo::decode(&std::fs::read(&file).unwrap(), &Limits::default()).unwrap();
        let begun = Instant::now();
        let prediction = model.predict(&photo).unwrap();
        inference.push(begun.elapsed());
        for (photo, times) in sizes(photo).iter().zip(&mut times) {
            let (masks, took) = best(|| segment(photo, prediction.regions.as_ref()));
            times[0].push(took);
            times[1].push(best(|| palette(photo, &masks, None)).1);
        }
    }
    let inferred = median(&mut inference);
    println!("{} photos, {:?}: inference {inferred:.1} ms", inference.len(), model.engine());
    for (name, [masks, colors]) in ["as they are (working size)", "224 x 224"].iter().zip(&mut times) {
        let (mask, color) = (median(masks), median(colors));
        let share = (mask + color) / inferred * 100.0;
        println!(
            "{name}: mask {mask:.2} ms, color {color:.2} ms, together {:.2} ms, {share:.1} % of the inference",
            mask + color
        );
    }
}
