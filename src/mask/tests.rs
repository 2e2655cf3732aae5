//! Masks of drawn pictures whose truth is known.

use super::skin::MONK;
use super::*;
use image::{Rgb, RgbImage};

type Pixel = [u8; 3];

/// A picture from a function of the pixel, and the truth of its product.
struct Drawn {
    photo: RgbImage,
    truth: Vec<bool>,
}

/// `paint` returns the color and whether the pixel is product.
fn draw(width: u32, height: u32, paint: impl Fn(f32, f32) -> (Pixel, bool)) -> Drawn {
    let mut truth = Vec::new();
    let photo = RgbImage::from_fn(width, height, |x, y| {
        let (color, product) = paint(x as f32 / width as f32, y as f32 / height as f32);
        truth.push(product);
        Rgb(color)
    });
    Drawn { photo, truth }
}

fn iou(masks: &Masks, truth: &[bool]) -> f32 {
    assert_eq!(masks.product.as_raw().len(), truth.len());
    let (mut both, mut any) = (0, 0);
    for (m, t) in masks.product.as_raw().iter().zip(truth) {
        both += i32::from(*m > 127 && *t);
        any += i32::from(*m > 127 || *t);
    }
    both as f32 / any.max(1) as f32
}

fn cut(drawn: &Drawn) -> Masks {
    segment(&Photo::from_rgb(drawn.photo.clone(), None), None)
}

fn inside(x: f32, y: f32, x0: f32, y0: f32, x1: f32, y1: f32) -> bool {
    (x0..x1).contains(&x) && (y0..y1).contains(&y)
}

/// A shirt: body and two sleeves.
fn shirt(x: f32, y: f32) -> bool {
    inside(x, y, 0.3, 0.2, 0.7, 0.85) || inside(x, y, 0.15, 0.2, 0.85, 0.4)
}

#[test]
fn plain_backgrounds_of_any_color() {
    for back in [[255, 255, 255], [20, 20, 20], [120, 160, 200], [230, 200, 60]] {
        let drawn = draw(200, 240, |x, y| if shirt(x, y) { ([150, 30, 50], true) } else { (back, false) });
        let masks = cut(&drawn);
        let got = iou(&masks, &drawn.truth);
        assert!(got > 0.95, "{back:?}: {got}");
        assert_eq!(masks.kind, BackgroundKind::Plain);
        assert!(masks.confidence > 0.8, "{}", masks.confidence);
    }
}

#[test]
fn gradients_in_both_directions() {
    let drawn = draw(200, 240, |x, y| {
        let v = (150.0 + 60.0 * y + 30.0 * x) as u8;
        if shirt(x, y) { ([40, 90, 60], true) } else { ([v, v, v], false) }
    });
    let masks = cut(&drawn);
    let got = iou(&masks, &drawn.truth);
    assert!(got > 0.95, "{got}");
    assert_eq!(masks.kind, BackgroundKind::Gradient);
}

#[test]
fn wall_and_floor_are_two_surfaces() {
    let drawn = draw(200, 240, |x, y| {
        let back = if y < 0.7 { [225, 225, 228] } else { [170, 150, 130] };
        if shirt(x, y) { ([40, 60, 140], true) } else { (back, false) }
    });
    let got = iou(&cut(&drawn), &drawn.truth);
    assert!(got > 0.9, "{got}");
}

#[test]
fn a_white_shirt_on_white_is_kept_whole() {
    // Contour of one pixel of grey, as thin shadows draw it; inside as white as outside.
    let drawn = draw(200, 240, |x, y| {
        if !shirt(x, y) {
            return ([255, 255, 255], false);
        }
        let contour = !(shirt(x - 0.01, y) && shirt(x + 0.01, y) && shirt(x, y - 0.01) && shirt(x, y + 0.01));
        (if contour { [225, 226, 228] } else { [252, 252, 253] }, true)
    });
    let masks = cut(&drawn);
    let got = iou(&masks, &drawn.truth);
    assert!(got > 0.9, "{got}");
    assert!(masks.flags.contains(&Flag::LowContrast));
    assert!(masks.confidence < 0.7);
}

#[test]
fn holes_open_but_prints_stay() {
    let hole = |x: f32, y: f32| inside(x, y, 0.42, 0.3, 0.58, 0.5);
    let dot = |x: f32, y: f32| inside(x, y, 0.47, 0.7, 0.49, 0.72);
    let drawn = draw(200, 240, |x, y| {
        if hole(x, y) {
            ([255, 255, 255], false)
        } else if shirt(x, y) && !dot(x, y) {
            ([30, 40, 90], true)
        } else {
            ([255, 255, 255], shirt(x, y))
        }
    });
    let masks = cut(&drawn);
    let at = |x: f32, y: f32| masks.product.get_pixel((x * 200.0) as u32, (y * 240.0) as u32)[0];
    assert!(at(0.5, 0.4) < 50, "the hole between arm and body is background");
    assert!(at(0.48, 0.71) > 200, "a white dot of a print is product");
}

#[test]
fn a_hole_in_its_own_shade_opens_unless_the_map_sees_a_dial() {
    // Light in the middle, darker toward the walls, as between the two halves of a belt.
    let drawn = draw(200, 240, |x, y| {
        let deep = ((x - 0.5).abs() / 0.1).max((y - 0.4).abs() / 0.1);
        if deep > 1.0 || !shirt(x, y) {
            (if shirt(x, y) { [30, 40, 90] } else { [255; 3] }, shirt(x, y))
        } else {
            let shade = 255 - (24.0 * (deep - 0.6).max(0.0)) as u8;
            ([shade; 3], false)
        }
    });
    let photo = Photo::from_rgb(drawn.photo.clone(), None);
    let middle = |masks: &Masks, x: f32| masks.product.get_pixel((x * 200.0) as u32, 96)[0];
    let cells = |in_hole: f32| {
        let cell = |i: usize| ((i % 14) as f32 / 14.0 + 0.035, (i / 14) as f32 / 14.0 + 0.035);
        let at = |(x, y)| if inside(x, y, 0.4, 0.3, 0.6, 0.5) { in_hole } else { f32::from(u8::from(shirt(x, y))) };
        map((0..196).map(|i| at(cell(i))).collect(), vec![0.0; 196])
    };
    let [dial, belt] = [1.0, 0.85].map(|seen| segment(&photo, Some(&cells(seen))));
    // A hole narrower than the map's cells is no reason to doubt the cut.
    assert!(belt.confidence > 0.8, "{}", belt.confidence);
    assert!(middle(&dial, 0.5) > 200 && middle(&belt, 0.5) < 50 && middle(&belt, 0.42) < 120);
}

#[test]
fn a_cast_shadow_is_no_product() {
    let drawn = draw(200, 240, |x, y| {
        if inside(x, y, 0.3, 0.2, 0.7, 0.8) {
            return ([160, 40, 40], true);
        }
        // A soft ellipse below the product.
        let d = ((x - 0.5) / 0.35).hypot((y - 0.82) / 0.1);
        let v = 255.0 - 70.0 * (1.0 - d).clamp(0.0, 1.0);
        ([v as u8, v as u8, v as u8], false)
    });
    let got = iou(&cut(&drawn), &drawn.truth);
    assert!(got > 0.93, "{got}");
}

#[test]
fn alpha_decides_where_there_is_one() {
    let drawn = draw(120, 120, |x, y| ([90, 90, 90], inside(x, y, 0.2, 0.3, 0.6, 0.9)));
    let alpha = GrayImage::from_raw(120, 120, drawn.truth.iter().map(|t| u8::from(*t) * 255).collect());
    let masks = segment(&Photo::from_rgb(drawn.photo.clone(), alpha), None);
    assert!(iou(&masks, &drawn.truth) > 0.99);
    assert_eq!(masks.kind, BackgroundKind::Alpha);
}

/// A person in a garment: head with hair, neck, arms beside the body, legs.
fn person(x: f32, y: f32, tone: Pixel, garment: Pixel) -> (Pixel, u8) {
    let face = ((x - 0.5) / 0.075).hypot((y - 0.13) / 0.08) < 1.0;
    let hair = ((x - 0.5) / 0.1).hypot((y - 0.1) / 0.09) < 1.0;
    let neck = inside(x, y, 0.465, 0.18, 0.535, 0.26);
    let arms = inside(x, y, 0.24, 0.38, 0.31, 0.62) || inside(x, y, 0.69, 0.38, 0.76, 0.62);
    let body = inside(x, y, 0.33, 0.24, 0.67, 0.72) || inside(x, y, 0.24, 0.24, 0.76, 0.38);
    let legs = inside(x, y, 0.37, 0.72, 0.46, 0.98) || inside(x, y, 0.54, 0.72, 0.63, 0.98);
    // A little shading keeps the drawing from being flat.
    let shade = |c: Pixel| c.map(|v| (f32::from(v) * (0.94 + 0.1 * x)).clamp(0.0, 255.0) as u8);
    if body && !neck {
        (shade(garment), 1)
    } else if face || neck || arms || legs {
        (shade(tone), 2)
    } else if hair {
        ([18, 16, 15], 3)
    } else {
        ([255, 255, 255], 0)
    }
}

#[test]
fn skin_is_found_in_all_ten_monk_tones_alike() {
    let mut shares = Vec::new();
    for tone in MONK {
        let [_, r, g, b] = tone.to_be_bytes();
        let paint = |x: u32, y: u32| person(x as f32 / 192.0, y as f32 / 256.0, [r, g, b], [40, 80, 170]);
        let photo = RgbImage::from_fn(192, 256, |x, y| Rgb(paint(x, y).0));
        let masks = segment(&Photo::from_rgb(photo, None), None);
        let (mut skin, mut found, mut garment, mut lost) = (0, 0, 0, 0);
        for (x, y, m) in masks.skin.enumerate_pixels() {
            match paint(x, y).1 {
                2 => {
                    skin += 1;
                    found += i32::from(m[0] > 127);
                }
                1 => {
                    garment += 1;
                    lost += i32::from(m[0] > 127);
                }
                _ => {}
            }
        }
        shares.push((found as f32 / skin as f32, lost as f32 / garment as f32));
    }
    for (tone, (found, lost)) in MONK.iter().zip(&shares) {
        assert!(*found > 0.85, "{tone:06x} found {found}: {shares:?}");
        assert!(*lost < 0.03, "{tone:06x} took {lost} of the garment");
    }
}

#[test]
fn skin_colored_garments_stay_product() {
    // Tan, beige, camel, nude, brown, leather.
    for color in [[210, 180, 140], [225, 205, 175], [193, 154, 107], [224, 190, 170], [110, 75, 50], [150, 95, 55]] {
        let drawn = draw(200, 240, |x, y| if shirt(x, y) { (color, true) } else { ([255, 255, 255], false) });
        let masks = cut(&drawn);
        let got = iou(&masks, &drawn.truth);
        assert!(got > 0.93, "{color:?}: {got}");
    }
}

#[test]
fn fabric_has_no_background() {
    let drawn = draw(160, 160, |x, y| {
        let band = ((x * 12.0) as i32 + (y * 12.0) as i32) % 3;
        ([[40, 60, 120], [220, 220, 210], [160, 40, 50]][band as usize], true)
    });
    let masks = cut(&drawn);
    assert_eq!(masks.kind, BackgroundKind::None);
    assert!(iou(&masks, &drawn.truth) > 0.99);
}

/// A map of 14 x 14 cells without people.
fn map(product: Vec<f32>, other: Vec<f32>) -> RegionMap {
    RegionMap { width: 14, height: 14, product, skin: vec![0.0; 196], hair: vec![0.0; 196], other }
}

/// Intersection over union of two masks.
fn iou_of(one: &GrayImage, two: &GrayImage) -> f64 {
    let pairs = || one.as_raw().iter().zip(two.as_raw()).map(|(a, b)| (*a >= 128, *b >= 128));
    pairs().filter(|(a, b)| *a && *b).count() as f64 / pairs().filter(|(a, b)| *a || *b).count().max(1) as f64
}

#[test]
fn a_scene_says_that_it_guesses_and_the_map_helps() {
    // Bands of many colors around a product in the middle.
    let product = |x: f32, y: f32| inside(x, y, 0.35, 0.3, 0.65, 0.9);
    let drawn = draw(200, 240, |x, y| {
        if product(x, y) {
            return ([200, 30, 120], true);
        }
        let v = ((x * 9.0) as u32 * 37 + (y * 7.0) as u32 * 91) % 200;
        ([v as u8, (v * 7 % 190) as u8, 90], false)
    });
    let masks = cut(&drawn);
    assert_eq!(masks.kind, BackgroundKind::Scene);
    assert!(masks.flags.contains(&Flag::SceneBackground));
    assert!(masks.confidence < 0.5);
    assert!(iou(&masks, &drawn.truth) > 0.5);

    let cell = |i: usize| {
        let (x, y) = ((i % 14) as f32 / 14.0 + 0.035, (i / 14) as f32 / 14.0 + 0.035);
        f32::from(u8::from(product(x, y)))
    };
    let map = map((0..196).map(cell).collect(), vec![0.0; 196]);
    let helped = segment(&Photo::from_rgb(drawn.photo.clone(), None), Some(&map));
    assert!(iou(&helped, &drawn.truth) >= iou(&masks, &drawn.truth));
    assert!(helped.confidence > masks.confidence);
}

#[test]
fn other_clothes_on_a_plain_ground_count_little_and_the_map_does_not_move_the_outline() {
    // The lower half of the figure is what is worn with it.
    let drawn = draw(120, 160, |x, y| if shirt(x, y) { ([150, 30, 50], y < 0.5) } else { ([255; 3], false) });
    let photo = Photo::from_rgb(drawn.photo.clone(), None);
    let cell = |i: usize| ((i % 14) as f32 / 14.0 + 0.035, (i / 14) as f32 / 14.0 + 0.035);
    let plane = |upper: f32, lower: f32| -> Vec<f32> {
        let value = |(x, y)| {
            if !shirt(x, y) {
                0.0
            } else if y < 0.5 {
                upper
            } else {
                lower
            }
        };
        (0..196).map(|i| value(cell(i))).collect()
    };
    let seen = map(plane(0.9, 0.0), plane(0.0, 0.9));
    let (masks, bare) = (segment(&photo, Some(&seen)), segment(&photo, None));
    assert!(iou(&masks, &drawn.truth) > 0.9 && iou(&bare, &drawn.truth) < 0.7);
    assert!(iou_of(&masks.background, &bare.background) > 0.97);
    // Every pixel is something, and one thing.
    for i in 0..masks.product.as_raw().len() {
        let planes = [&masks.product, &masks.other, &masks.skin, &masks.hair, &masks.background];
        let sum: u32 = planes.iter().map(|plane| u32::from(plane.as_raw()[i])).sum();
        assert!((253..=257).contains(&sum), "{i}: {sum}");
    }
    // A map that sees nothing at all takes nothing away.
    let blind = map(vec![0.0; 196], vec![0.0; 196]);
    assert_eq!(segment(&photo, Some(&blind)).product, bare.product);
}

#[test]
fn a_leak_that_the_map_knows_better_is_mended() {
    // A shirt of the wall's own color that nothing but its collar tells from it.
    let drawn = draw(120, 160, |x, y| {
        let collar = inside(x, y, 0.4, 0.12, 0.6, 0.2);
        (if collar { [40, 40, 60] } else { [250; 3] }, collar || shirt(x, y))
    });
    let photo = Photo::from_rgb(drawn.photo.clone(), None);
    let cell = |i: usize| ((i % 14) as f32 / 14.0 + 0.035, (i / 14) as f32 / 14.0 + 0.035);
    let seen = |(x, y)| shirt(x, y) || inside(x, y, 0.4, 0.12, 0.6, 0.2);
    let product = (0..196).map(|i| f32::from(u8::from(seen(cell(i))))).collect();
    let map = map(product, vec![0.0; 196]);
    let (masks, bare) = (segment(&photo, Some(&map)), segment(&photo, None));
    assert!(iou(&bare, &drawn.truth) < 0.4 && iou(&masks, &drawn.truth) > 0.75);

    // The steps tell the same: the flood reached the chest, the map mended it, and looking on changes nothing.
    let (watched, steps) = super::steps(&photo, Some(&map));
    assert_eq!((watched.product.as_raw(), watched.confidence), (masks.product.as_raw(), masks.confidence));
    let chest = |plane: &GrayImage| plane.get_pixel(60, 80)[0];
    assert_eq!((chest(&steps.flood), chest(&steps.mended)), (255, 128));
    assert!(chest(&steps.map[0]) > 200 && chest(&steps.distance) < 10);
    assert_eq!(steps.planes().count(), 5);
    let wall = |plane: &GrayImage| plane.get_pixel(3, 3)[0];
    assert_eq!((wall(&steps.flood), wall(&steps.mended)), (255, 0));
}

#[test]
fn a_map_of_the_wrong_size_or_of_nonsense_is_ignored() {
    let drawn = draw(100, 100, |x, y| if shirt(x, y) { ([150, 30, 50], true) } else { ([255; 3], false) });
    let photo = Photo::from_rgb(drawn.photo.clone(), None);
    let short = RegionMap { width: 15, ..map(vec![1.0; 196], vec![0.0; 196]) };
    assert_eq!(segment(&photo, Some(&short)).product, segment(&photo, None).product);
    let broken = RegionMap {
        width: 2,
        height: 2,
        product: vec![f32::NAN; 4],
        skin: vec![f32::INFINITY; 4],
        hair: vec![-1.0; 4],
        other: vec![f32::NAN; 4],
    };
    assert!(segment(&photo, Some(&broken)).confidence.is_finite());
}

#[test]
fn an_empty_picture_is_product_as_a_whole_and_says_so() {
    let drawn = draw(100, 100, |_, _| ([200, 200, 200], true));
    let masks = cut(&drawn);
    assert!(masks.flags.contains(&Flag::WholePhoto));
    assert!(masks.confidence < 0.1);
    assert!(iou(&masks, &drawn.truth) > 0.99);
}
