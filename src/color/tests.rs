//! The room as a whole: drawn pictures with known palettes, and what must hold for any photo.

use super::BasicColor::{Beige, Black, Blue, Brown, Green, Grey, Orange, Pink, Red, White};
use super::*;
use crate::mask::segment;
use image::{GrayImage, Rgb, RgbImage};
use proptest::prelude::*;

fn colors(photo: &Photo, prior: Option<&ColorPrior>) -> Colors {
    palette(photo, &segment(photo, None), prior)
}

/// Vertical bands of the given colors on white, in the middle of the picture.
fn bands(of: &[[u8; 3]]) -> Photo {
    let rgb = RgbImage::from_fn(200, 200, |x, y| {
        if !(40..160).contains(&x) || !(30..170).contains(&y) {
            return Rgb([255, 255, 255]);
        }
        Rgb(of[(x as usize - 40) * of.len() / 120])
    });
    Photo::from_rgb(rgb, None)
}

#[test]
fn one_color_is_one_color() {
    let found = colors(&bands(&[[30, 60, 160]]), None);
    assert_eq!(found.dominant.len(), 1, "{found:?}");
    let first = &found.dominant[0];
    assert_eq!((first.hex.as_str(), first.name), ("#1e3ca0", Blue));
    assert_eq!(first.source, ColorSource::Pixels);
    assert_eq!(found.background[0].name, White);
    assert!(!found.multicolor);
    assert!((found.product_share - 0.42).abs() < 0.02, "{}", found.product_share);
}

#[test]
fn shading_of_one_material_is_joined() {
    let rgb = RgbImage::from_fn(200, 200, |x, y| {
        if !(40..160).contains(&x) || !(30..170).contains(&y) {
            return Rgb([255, 255, 255]);
        }
        let light = 0.45 + 0.55 * (x - 40) as f32 / 120.0;
        Rgb([190.0, 40.0, 60.0].map(|v: f32| (v * light) as u8))
    });
    let found = colors(&Photo::from_rgb(rgb, None), None);
    assert_eq!(found.dominant.len(), 1, "{:?}", found.dominant);
    assert_eq!(found.dominant[0].name, Red);
}

#[test]
fn a_flag_has_its_colors_and_is_multicolored() {
    let found = colors(&bands(&[[0, 130, 70], [250, 210, 30], [200, 30, 40]]), None);
    let mut names: Vec<_> = found.dominant.iter().map(|d| d.name).collect();
    names.sort_unstable();
    assert_eq!(names, [Red, BasicColor::Yellow, Green]);
    assert!(found.multicolor);
}

#[test]
fn black_and_white_stripes_stay_two_colors() {
    // On grey, since on white the white stripes would be openings to the background.
    let rgb = RgbImage::from_fn(200, 200, |x, y| {
        let stripe = if (x / 10).is_multiple_of(2) { [15, 15, 15] } else { [250, 250, 250] };
        let product = (40..160).contains(&x) && (30..170).contains(&y);
        Rgb(if product { stripe } else { [170, 170, 174] })
    });
    let found = colors(&Photo::from_rgb(rgb, None), None);
    let mut names: Vec<_> = found.dominant.iter().map(|d| d.name).collect();
    names.sort_unstable();
    assert_eq!(names, [Black, White]);
}

#[test]
fn the_models_word_decides_a_close_call_only() {
    let near = bands(&[[30, 60, 160]]);
    let sure = colors(&near, Some(&ColorPrior(vec![(Blue, 0.9)])));
    assert_eq!(sure.dominant[0].source, ColorSource::Both);
    // A weak word against a clear measurement changes nothing.
    let weak = colors(&near, Some(&ColorPrior(vec![(Green, 0.2)])));
    assert_eq!((weak.dominant[0].name, weak.dominant[0].source), (Blue, ColorSource::Pixels));
    for broken in [vec![], vec![(Red, f32::NAN)], vec![(Red, -1.0)]] {
        assert_eq!(colors(&near, Some(&ColorPrior(broken))), colors(&near, None));
    }
}

#[test]
fn the_color_that_carries_the_name_comes_first() {
    let heap = |lab, weight| Bin { lab, weight };
    let bins = [heap([52.0, 0.0, 0.0], 5.0), heap([12.0, 0.0, 0.0], 4.0), heap([50.0, 60.0, 40.0], 1.0)];
    let mut palette = describe(&bins, 6);
    assert_eq!(palette.iter().map(|d| d.color.name).collect::<Vec<_>>(), [Grey, Black, Red]);
    let vote = NAMES.map(|name| if name == Black { 0.7 } else { 0.3 / 11.0 });
    let certainty = settle(&mut palette, vote, None);
    assert!((certainty - 0.7).abs() < 1e-6);
    assert_eq!(palette.iter().map(|d| d.color.name).collect::<Vec<_>>(), [Black, Grey, Red]);
    assert_eq!(palette[0].color.source, ColorSource::Pixels);
    // A name that no color of the palette carries renames the largest.
    let vote = NAMES.map(|name| if name == Green { 0.7 } else { 0.3 / 11.0 });
    settle(&mut palette, vote, Some(&ColorPrior(vec![(Green, 0.9)])));
    assert_eq!((palette[0].color.name, palette[0].color.source), (Green, ColorSource::Both));
}

#[test]
fn transparent_photos_have_an_answer() {
    let rgb = RgbImage::from_pixel(40, 40, Rgb([255, 255, 255]));
    let alpha = GrayImage::from_pixel(40, 40, image::Luma([0]));
    let found = colors(&Photo::from_rgb(rgb, Some(alpha)), None);
    assert!(found.confidence < 0.2);
    assert!(found.flags.contains(&Flag::WholePhoto));
}

/// Any small photo: flat, noise or two-colored, with any alpha or none.
fn any_photo() -> impl Strategy<Value = Photo> {
    (1u32..=64, 1u32..=64, any::<[u8; 6]>(), any::<u32>(), 0u8..5).prop_map(|(w, h, seed, noise, kind)| {
        let random = |x: u32, y: u32| (x.wrapping_mul(73_856_093) ^ y.wrapping_mul(19_349_663)).wrapping_mul(noise | 1);
        let rgb = RgbImage::from_fn(w, h, |x, y| {
            let [r, g, b, s, t, u] = seed;
            Rgb(match kind {
                0 => [r, g, b],
                1 if x * 2 < w => [r, g, b],
                1 => [s, t, u],
                2 if (w / 4..3 * w / 4).contains(&x) && (h / 4..3 * h / 4).contains(&y) => [s, t, u],
                2 => [r, g, b],
                _ => {
                    let [_, p, q, v] = random(x, y).to_be_bytes();
                    [p, q, v]
                }
            })
        });
        let alpha = (kind % 2 == 1).then(|| GrayImage::from_fn(w, h, |x, y| image::Luma([(random(y, x) >> 9) as u8])));
        Photo::from_rgb(rgb, alpha)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_photo_has_a_sound_palette(photo in any_photo()) {
        let found = colors(&photo, None);
        prop_assert!((1..=6).contains(&found.dominant.len()));
        for list in [&found.dominant, &found.background] {
            let sum: f32 = list.iter().map(|d| d.share).sum();
            prop_assert!(list.is_empty() || (sum - 1.0).abs() < 1e-3, "shares sum to {}", sum);
            // The first of the product's colors is the one that names it.
            let by_share = if std::ptr::eq(list, &found.dominant) { &list[1..] } else { list.as_slice() };
            prop_assert!(by_share.windows(2).all(|w| w[0].share >= w[1].share));
            prop_assert!(list.iter().all(|d| d.lab.iter().all(|v| v.is_finite())));
        }
        prop_assert!((0.0..=1.0).contains(&found.confidence));
        prop_assert!((0.0..=1.0).contains(&found.product_share) && (0.0..=1.0).contains(&found.skin_share));
        prop_assert_eq!(found, colors(&photo, None));
    }
}

#[test]
fn threads_do_not_change_the_answer() {
    let photo = bands(&[[30, 60, 160], [210, 180, 140], [15, 15, 15]]);
    let alone = colors(&photo, None);
    std::thread::scope(|s| {
        let runs: Vec<_> = (0..4).map(|_| s.spawn(|| colors(&photo, None))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), alone);
        }
    });
}

#[test]
fn odd_shapes_have_an_answer() {
    for (w, h) in [(1, 1), (1, 3000), (3000, 1), (2, 700), (257, 255)] {
        let photo = Photo::from_rgb(RgbImage::from_pixel(w, h, Rgb([10, 120, 60])), None);
        let found = colors(&photo, None);
        assert_eq!(found.dominant[0].name, Green, "{w}x{h}");
    }
}

/// What shops send by mistake: an answer with low confidence or a flag, finite throughout, and the color that is there.
#[test]
fn odd_photos_have_an_honest_answer() {
    let flat = |rgb: [u8; 3]| Photo::from_rgb(RgbImage::from_pixel(160, 200, Rgb(rgb)), None);
    let dotted = |dot: u32| {
        let image = RgbImage::from_fn(200, 200, |x, y| {
            let inside = (100..100 + dot).contains(&x) && (100..100 + dot).contains(&y);
            Rgb(if inside { [200, 20, 30] } else { [255, 255, 255] })
        });
        Photo::from_rgb(image, None)
    };
    let mut seed = 7u32;
    let noise = RgbImage::from_fn(200, 160, |_, _| {
        Rgb(std::array::from_fn(|_| {
            // Numerical Recipes' linear congruential generator; its high byte.
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        }))
    });
    let clear = Photo::from_rgb(
        RgbImage::from_pixel(60, 60, Rgb([255, 255, 255])),
        Some(GrayImage::from_pixel(60, 60, image::Luma([0]))),
    );
    let photos = [
        ("white wall", flat([255, 255, 255]), &[White][..]),
        ("grey wall", flat([150, 150, 150]), &[Grey][..]),
        ("skin only", flat([198, 134, 108]), &[Brown, Orange, Beige, Pink][..]),
        ("one pixel of product", dotted(1), &[White][..]),
        ("nothing but transparency", clear, &[White][..]),
        ("one pixel", Photo::from_rgb(RgbImage::from_pixel(1, 1, Rgb([20, 160, 60])), None), &[Green][..]),
        ("one row", Photo::from_rgb(RgbImage::from_pixel(3000, 1, Rgb([20, 60, 190])), None), &[Blue][..]),
        ("black wall", flat([0, 0, 0]), &[Black][..]),
    ];
    for (what, photo, names) in photos {
        let found = colors(&photo, None);
        assert!(names.contains(&found.dominant[0].name), "{what}: {found:?}");
        assert!(found.confidence < 0.5, "{what}: {}", found.confidence);
        assert!(found.flags.contains(&Flag::WholePhoto), "{what}: {:?}", found.flags);
    }
    // Noise is no product, but a whole picture of it: grey on average, of many colors.
    let found = colors(&Photo::from_rgb(noise, None), None);
    assert!(found.confidence < 0.6, "{}", found.confidence);
    assert!(found.dominant.iter().all(|d| d.share.is_finite() && d.lab.iter().all(|v| v.is_finite())));
    // A speck that is large enough to be seen is measured.
    assert_eq!(colors(&dotted(24), None).dominant[0].name, Red);
}

/// A grayscale photo stays without hue, and a cast as strong as a tungsten bulb's keeps its answer finite.
#[test]
fn grayscale_and_casts() {
    let gray = RgbImage::from_fn(200, 200, |x, y| {
        let inside = (50..150).contains(&x) && (40..160).contains(&y);
        Rgb([if inside { 40 + (x / 10) as u8 } else { 235 }; 3])
    });
    for d in colors(&Photo::from_rgb(gray.clone(), None), None).dominant {
        assert!(matches!(d.name, Black | Grey | White), "{d:?}");
        assert!(d.lab[1].abs() < 0.5 && d.lab[2].abs() < 0.5, "{d:?}");
    }
    let cast = RgbImage::from_fn(200, 200, |x, y| {
        let v = f32::from(gray.get_pixel(x, y)[0]);
        Rgb([v as u8, (v * 0.7) as u8, (v * 0.3) as u8])
    });
    let found = colors(&Photo::from_rgb(cast, None), None);
    assert!((0.0..=1.0).contains(&found.confidence) && !found.dominant.is_empty());
}
