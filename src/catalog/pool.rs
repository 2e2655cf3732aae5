//! A fixed set of connections, lent one at a time. Waiting is bounded: a caller that cannot be served in time is
//! told so. With one item it is the writer's lock, which keeps commits in order.

use super::CatalogError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Items that threads share by turns.
pub(super) struct Pool<T> {
    // Held only to push and pop, never while an item is used.
    free: Mutex<Vec<T>>,
    returned: Condvar,
    patience: Duration,
}

impl<T> Pool<T> {
    /// A pool of `items`; callers wait at most `patience` for one.
    pub(super) fn new(items: Vec<T>, patience: Duration) -> Self {
        Self { free: Mutex::new(items), returned: Condvar::new(), patience }
    }

    /// Runs `work` with an item of its own. The item comes back also when `work` panics: a transaction it left
    /// open was rolled back by its drop.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Result<R, CatalogError> {
        let mut item = self.take()?;
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut item)));
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        self.returned.notify_one();
        match outcome {
            Ok(result) => Ok(result),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn take(&self) -> Result<T, CatalogError> {
        let start = Instant::now();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(item) = free.pop() {
                return Ok(item);
            }
            let waited = start.elapsed();
            let Some(left) = self.patience.checked_sub(waited) else {
                return Err(CatalogError::Busy { waited });
            };
            free = self.returned.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_item_comes_back_after_a_panic() {
        let pool = Pool::new(vec![1], Duration::from_secs(5));
        let panicked = catch_unwind(AssertUnwindSafe(|| pool.with(|_: &mut i32| panic!("the work failed"))));
        assert!(panicked.is_err());
        assert_eq!(pool.with(|item| *item).unwrap(), 1);
    }

    #[test]
    fn a_caller_that_cannot_be_served_is_told() {
        let pool = Pool::new(vec![()], Duration::ZERO);
        let inner = pool.with(|()| pool.with(|()| ())).unwrap();
        assert!(matches!(inner, Err(CatalogError::Busy { .. })));
    }
}
