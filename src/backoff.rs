//! Pauses before something is tried again, for whoever sends or fetches.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pause after attempt `attempt`, from 1: `first`, doubled from attempt to attempt up to `longest`, and drawn from half to one and a
/// half of that.
pub(crate) fn pause(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    // Those that failed together are not to come again together. What is drawn decides nothing but that.
    let drawn = RandomState::new().hash_one(attempt) as f64 / u64::MAX as f64;
    doubled.min(longest).mul_f64(0.5 + drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let [first, longest] = [500, 20_000].map(Duration::from_millis);
        for (attempt, milliseconds) in [(0, 500), (1, 500), (2, 1_000), (3, 2_000), (30, 20_000), (u32::MAX, 20_000)] {
            let pause = pause(attempt, first, longest).as_millis();
            assert!((milliseconds / 2..=milliseconds * 3 / 2).contains(&pause), "{attempt}: {pause}");
        }
    }
}
