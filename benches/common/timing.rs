//! The shortest of several runs: what the work takes when nothing else takes of the core.

use std::time::{Duration, Instant};

/// What `work` gives, and the shortest of five times it took.
pub(crate) fn best<T>(mut work: impl FnMut() -> T) -> (T, Duration) {
    let mut once = || {
        let begun = Instant::now();
        let result = work();
        (result, begun.elapsed())
    };
    let mut found = once();
    for _ in 0..4 {
        let next = once();
        if next.1 < found.1 {
            found = next;
        }
    }
    found
}

/// In milliseconds.
pub(crate) fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
