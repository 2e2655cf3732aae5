//! The decoder held to colors that Little CMS and libjpeg agree on (`tests/data/photo/make.py` prints them), and to
//! hostile bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
pub(super) mod made;
mod real;

use super::*;

use made::{CENTERS, decode, fixture};

const DRAWN: [[u8; 3]; 4] = [[200, 40, 30], [30, 150, 60], [40, 60, 190], [120; 3]];
const WHITE: [u8; 3] = [255; 3];

#[track_caller]
fn assert_colors(name: &str, photo: &Photo, expected: [[u8; 3]; 4], tolerance: u8) {
    for ((x, y), expected) in CENTERS.into_iter().zip(expected) {
        let found = photo.rgb().get_pixel(x, y).0;
        let off = found.iter().zip(expected).map(|(&a, b)| a.abs_diff(b)).max();
        assert!(off <= Some(tolerance), "{name} at {x},{y}: expected {expected:?}, found {found:?}");
    }
}

#[test]
fn every_container_gives_the_colors_drawn() {
    let grays = [[30; 3], [90; 3], [160; 3], [220; 3]];
    for (name, format, expected, tolerance) in [
        ("base.jpg", Format::Jpeg, DRAWN, 2),
        ("progressive.jpg", Format::Jpeg, DRAWN, 2),
        ("gray.jpg", Format::Jpeg, grays, 1),
        ("cmyk.jpg", Format::Jpeg, DRAWN, 2),
        ("cmyk_plain.jpg", Format::Jpeg, DRAWN, 2),
        ("ycck.jpg", Format::Jpeg, DRAWN, 2),
        ("bad_icc.jpg", Format::Jpeg, DRAWN, 2),
        ("rgb16.png", Format::Png, DRAWN, 1),
        ("interlaced.png", Format::Png, DRAWN, 0),
        ("lossy.webp", Format::WebP, DRAWN, 2),
        ("lossless.webp", Format::WebP, DRAWN, 0),
        ("animated.webp", Format::WebP, DRAWN, 0),
        ("animated.gif", Format::Gif, DRAWN, 0),
        ("base.bmp", Format::Bmp, DRAWN, 0),
        ("yuv420.avif", Format::Avif, DRAWN, 3),
        ("yuv422.avif", Format::Avif, DRAWN, 2),
        ("yuv444.avif", Format::Avif, DRAWN, 2),
        ("ten_bit.avif", Format::Avif, DRAWN, 2),
        ("lossless.avif", Format::Avif, DRAWN, 0),
        ("gray.avif", Format::Avif, grays, 1),
    ] {
        let photo = decode(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((photo.width(), photo.height(), photo.format()), (64, 48, format), "{name}");
        assert!(photo.alpha().is_none(), "{name}");
        assert_colors(name, &photo, expected, tolerance);
    }
}

#[test]
fn profiles_lead_to_the_colors_of_little_cms() {
    let rgb = [[234, 35, 23], [0, 151, 48], [19, 59, 194], [121; 3]];
    let cmyk = [[189, 90, 79], [70, 148, 87], [87, 101, 181], [133; 3]];
    for (name, expected, tolerance) in [
        ("adobe_rgb.jpg", rgb, 2),
        ("adobe_rgb.avif", rgb, 3),
        ("adobe_rgb_gray.jpg", [[24; 3], [90; 3], [161; 3], [221; 3]], 2),
        ("linear_gray.png", [[96; 3], [160; 3], [208; 3], [239; 3]], 1),
        // Three points an axis: Little CMS interpolates in tetrahedra, moxcms linearly, which shows on so coarse a grid.
        ("cmyk_icc.jpg", cmyk, 5),
    ] {
        assert_colors(name, &decode(&fixture(name)).unwrap(), expected, tolerance);
    }
}

#[test]
fn alpha_is_kept_and_composited_on_white() {
    let half = [142, 202, 157];
    let color = [DRAWN[0], half, WHITE, DRAWN[3]];
    let gray = [[30; 3], [172; 3], WHITE, [220; 3]];
    for (name, expected, alpha) in [
        ("alpha.png", color, [255, 128, 0, 255]),
        ("alpha.webp", color, [255, 128, 0, 255]),
        ("alpha.avif", color, [255, 128, 0, 255]),
        ("premultiplied.avif", color, [255, 128, 0, 255]),
        ("gray_alpha.png", gray, [255, 128, 0, 255]),
        ("palette.png", [DRAWN[0], DRAWN[1], DRAWN[2], WHITE], [255, 255, 255, 0]),
    ] {
        let photo = decode(&fixture(name)).unwrap();
        assert_colors(name, &photo, expected, 2);
        let found = CENTERS.map(|(x, y)| photo.alpha().expect(name).get_pixel(x, y)[0]);
        assert_eq!(found, alpha, "{name}");
    }
}

#[test]
fn all_eight_orientations_stand_upright() {
    let base = fixture("base.jpg");
    // Where the stored quadrants 0 1 / 2 3 are seen, left to right and top to bottom (EXIF 2.32, tag 0x0112).
    let seen = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ];
    for (tag, order) in (1_u8..).zip(seen) {
        let photo = decode(&made::with_orientation(&base, tag)).unwrap();
        let (w, h) = (photo.width(), photo.height());
        assert_eq!((w, h), if tag < 5 { (64, 48) } else { (48, 64) }, "tag {tag}");
        let found = [(w / 4, h / 4), (3 * w / 4, h / 4), (w / 4, 3 * h / 4), (3 * w / 4, 3 * h / 4)]
            .map(|(x, y)| photo.rgb().get_pixel(x, y).0);
        for (found, quadrant) in found.into_iter().zip(order) {
            let off = found.iter().zip(DRAWN[quadrant]).map(|(&a, b)| a.abs_diff(b)).max();
            assert!(off <= Some(2), "tag {tag}: expected quadrant {quadrant}, found {found:?}");
        }
    }
    let nonsense = decode(&made::with_orientation(&base, 77)).unwrap();
    assert_colors("tag 77", &nonsense, DRAWN, 2);
}

/// Truth: what `libavif` calls the orientation, applied by Pillow (`make.py` prints it).
#[test]
fn turned_and_mirrored_avif_stands_upright() {
    for (name, order) in [
        ("turned_0t", [2, 3, 0, 1]),
        ("turned_0l", [1, 0, 3, 2]),
        ("turned_1", [1, 3, 0, 2]),
        ("turned_1t", [0, 2, 1, 3]),
        ("turned_1l", [3, 1, 2, 0]),
        ("turned_2", [3, 2, 1, 0]),
        ("turned_2t", [1, 0, 3, 2]),
        ("turned_2l", [2, 3, 0, 1]),
        ("turned_3", [2, 0, 3, 1]),
        ("turned_3t", [3, 1, 2, 0]),
        ("turned_3l", [0, 2, 1, 3]),
    ] {
        let photo = decode(&fixture(&format!("{name}.avif"))).unwrap();
        let (w, h) = (photo.width(), photo.height());
        assert_eq!(w > h, name.starts_with("turned_0") || name.starts_with("turned_2"), "{name}");
        let points = [(w / 4, h / 4), (3 * w / 4, h / 4), (w / 4, 3 * h / 4), (3 * w / 4, 3 * h / 4)];
        for ((x, y), quadrant) in points.into_iter().zip(order) {
            let found = photo.rgb().get_pixel(x, y).0;
            let off = found.iter().zip(DRAWN[quadrant]).map(|(&a, b)| a.abs_diff(b)).max();
            assert!(off <= Some(2), "{name}: expected quadrant {quadrant}, found {found:?}");
        }
    }
}

#[test]
fn code_points_of_avif_are_colors() {
    // Display P3 to sRGB by the matrices of SMPTE EG 432-1 and IEC 61966-2-1.
    let p3 = [[218, 0, 4], [0, 153, 44], [34, 61, 198], [120; 3]];
    assert_colors("p3.avif", &decode(&fixture("p3.avif")).unwrap(), p3, 2);
    let error = decode(&fixture("pq.avif")).unwrap_err();
    assert!(matches!(&error, PhotoError::UnsupportedFeature { detail, .. } if detail.contains("PQ")), "{error}");
}

#[test]
fn chroma_of_odd_sizes_reaches_the_last_row_and_column() {
    let photo = decode(&fixture("odd_size.avif")).unwrap();
    assert_eq!((photo.width(), photo.height()), (63, 45));
    for (x, y, quadrant) in [(0, 0, 0), (62, 0, 1), (0, 44, 2), (62, 44, 3)] {
        let found = photo.rgb().get_pixel(x, y).0;
        let off = found.iter().zip(DRAWN[quadrant]).map(|(&a, b)| a.abs_diff(b)).max();
        assert!(off <= Some(6), "at {x},{y}: {found:?}");
    }
}

#[test]
fn hash_and_format_are_those_of_the_bytes() {
    let bytes = fixture("base.jpg");
    let photo = decode(&bytes).unwrap();
    assert_eq!(photo.sha256(), Sha256Hash::of(&bytes));
    assert_eq!((photo.format().mime(), photo.format().extension()), ("image/jpeg", "jpg"));
}

#[test]
fn crop_is_half_open_and_inside() {
    let photo = decode(&fixture("palette.png")).unwrap();
    let area = |x1, y1, x2, y2| PixelBox { x1, y1, x2, y2 };
    let corner = photo.crop(area(32, 24, 64, 48)).unwrap();
    assert_eq!((corner.width(), corner.height(), corner.sha256()), (32, 24, photo.sha256()));
    assert!(corner.rgb().pixels().all(|pixel| pixel.0 == WHITE));
    assert!(corner.alpha().unwrap().pixels().all(|pixel| pixel[0] == 0));
    let opaque = photo.crop(area(0, 0, 32, 24)).unwrap();
    assert!(opaque.alpha().is_none(), "an opaque part has no alpha");
    for outside in [
        area(0, 0, 65, 48),
        area(0, 0, 64, 49),
        area(30, 0, 30, 48),
        area(40, 0, 8, 48),
        area(64, 48, 96, 96),
        area(u32::MAX, 0, u32::MAX, 48),
        area(0, 0, u32::MAX, u32::MAX),
    ] {
        let expected = PhotoError::BoxOutside { received: outside, width: 64, height: 48 };
        assert_eq!(photo.crop(outside).unwrap_err(), expected);
    }
    let small = area(0, 0, 64, 23);
    let error = photo.crop(small).unwrap_err();
    assert_eq!(error, PhotoError::BoxTooSmall { received: small, limit: 24, width: 64, height: 48 });
    assert_eq!(
        error.to_string(),
        "the box 0,0,64,23 is 64x23 pixels of a photo of 64x48; the shortest side accepted is 24"
    );
}

#[test]
fn thumbnails_shrink_and_never_grow() {
    let photo = decode(&fixture("base.bmp")).unwrap();
    for (asked, expected) in [(32, (32, 24)), (64, (64, 48)), (500, (64, 48)), (0, (1, 1))] {
        let jpeg = photo.thumbnail(asked).unwrap();
        let small = image::load_from_memory(&jpeg).unwrap();
        assert_eq!((small.width(), small.height()), expected, "asked for {asked}");
        assert_eq!(jpeg, photo.thumbnail(asked).unwrap(), "same photo, same bytes");
    }
    let small = image::load_from_memory(&photo.thumbnail(32).unwrap()).unwrap().into_rgb8();
    let found = small.get_pixel(8, 6).0;
    let off = found.iter().zip(DRAWN[0]).map(|(&a, b)| a.abs_diff(b)).max();
    assert!(off <= Some(12), "{found:?}");
}
