//! What benchmarks share: memory of a process, vectors of a file, and drawn ones: of unit length and 256 values, in clusters,
//! of an intrinsic dimension of about 32. Embeddings of photos are of that kind.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::path::Path;

pub(crate) const DIMENSION: usize = 256;
const INTRINSIC: usize = 32;
pub(crate) const CLUSTERS: usize = 200;

fn gauss(rng: &mut Pcg64) -> f32 {
    // Box and Muller; the lower end keeps the logarithm finite.
    let (u, v): (f32, f32) = (rng.random_range(1e-7..1.0), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

/// Vectors without an end: a cluster's center, a step along each of the axes that all share, and a little noise.
pub(crate) struct Draw {
    centers: Vec<Vec<f32>>,
    axes: Vec<Vec<f32>>,
    rng: Pcg64,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(1);
        let mut draw = |rows: usize| -> Vec<Vec<f32>> {
            (0..rows).map(|_| (0..DIMENSION).map(|_| gauss(&mut rng)).collect()).collect()
        };
        let (centers, axes) = (draw(CLUSTERS), draw(INTRINSIC));
        Self { centers, axes, rng: Pcg64::seed_from_u64(seed) }
    }
}

impl Iterator for Draw {
    /// The cluster and the vector.
    type Item = (usize, Vec<f32>);

    fn next(&mut self) -> Option<Self::Item> {
        let cluster = self.rng.random_range(0..CLUSTERS);
        let mut v = self.centers[cluster].clone();
        for axis in &self.axes {
            let along = 0.35 * gauss(&mut self.rng);
            v.iter_mut().zip(axis).for_each(|(v, a)| *v += along * a);
        }
        v.iter_mut().for_each(|v| *v += 0.05 * gauss(&mut self.rng));
        let length = v.iter().map(|v| v * v).sum::<f32>().sqrt();
        Some((cluster, v.iter().map(|v| v / length).collect()))
    }
}

/// Memory of a process in MB, as Linux counts it; `process` is its number, or `self`.
pub(crate) fn memory(process: &str, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Vectors of a file of f32, little-endian, row-major.
pub(crate) fn read_f32(path: &Path) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    values.chunks_exact(DIMENSION).map(<[f32]>::to_vec).collect()
}
