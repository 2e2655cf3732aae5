//! Bounded lanes for work that costs processor time: interactive before bulk, and a full queue says so at once.
//! Nothing here blocks a tokio worker; work whose caller has gone is dropped unstarted.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Which queue a piece of work waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A shopper waits: served first.
    Interactive,
    /// A catalog job waits: served when nobody else does.
    Bulk,
}

/// Sizes of a scheduler.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerConfig {
    /// Worker threads, one piece of work each at a time.
    pub threads: usize,
    /// Pieces that may wait in the interactive lane.
    pub interactive_queue: usize,
    /// Pieces that may wait in the bulk lane.
    pub bulk_queue: usize,
}

/// Why a piece of work was not done.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The lane is full.
    #[error("{waiting} pieces of work already wait; try again in {retry_after_s} s")]
    Full {
        /// How many wait.
        waiting: usize,
        /// When the queue should have drained, from the measured rate; 1 to 60 seconds.
        retry_after_s: u64,
    },
    /// The process is shutting down.
    #[error("the service is shutting down")]
    Stopped,
    /// The work panicked: a fault of ours, contained.
    #[error("the work panicked")]
    Panicked,
}

type Job = Box<dyn FnOnce() + Send>;
/// What a piece of work came to, or its panic.
type Outcome<T> = std::thread::Result<T>;

struct Queues {
    interactive: VecDeque<Job>,
    bulk: VecDeque<Job>,
    stopping: bool,
    /// Moving average of the seconds one piece takes; the source of `Retry-After`.
    seconds_each: f64,
}

struct Shared {
    queues: Mutex<Queues>,
    wake: Condvar,
    config: SchedulerConfig,
}

/// A pool of threads behind two bounded lanes. Dropping it finishes what was accepted.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the threads; `name` is seen in debuggers.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(name: &str, config: SchedulerConfig) -> std::io::Result<Self> {
        let queues = Queues { interactive: VecDeque::new(), bulk: VecDeque::new(), stopping: false, seconds_each: 0.2 };
        let shared = Arc::new(Shared { queues: Mutex::new(queues), wake: Condvar::new(), config });
        let threads = (0..config.threads.max(1))
            .map(|i| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("{name}-{i}")).spawn(move || shared.work())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Runs `work` on a worker and waits for its result without blocking the runtime.
    ///
    /// Dropping the future before the work started cancels it.
    ///
    /// # Errors
    /// [`SchedulerError::Full`] at once when the lane is full.
    pub async fn run<T, F>(&self, lane: Lane, work: F) -> Result<T, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        result(self.submit(lane, work)?.await)
    }

    /// [`Scheduler::run`] for a thread that may wait, never one of the runtime's.
    ///
    /// # Errors
    /// [`SchedulerError::Full`] at once when the lane is full.
    pub fn run_blocking<T, F>(&self, lane: Lane, work: F) -> Result<T, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        result(self.submit(lane, work)?.blocking_recv())
    }

    fn submit<T, F>(&self, lane: Lane, work: F) -> Result<oneshot::Receiver<Outcome<T>>, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let span = tracing::Span::current();
        let job: Job = Box::new(move || {
            if sender.is_closed() {
                return;
            }
            let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(work)));
            // The caller may have gone meanwhile: nobody to tell.
            let _ = sender.send(outcome);
        });
        self.shared.push(lane, job)?;
        Ok(receiver)
    }

    /// How many pieces wait: (interactive, bulk).
    pub fn waiting(&self) -> (usize, usize) {
        let queues = self.shared.lock();
        (queues.interactive.len(), queues.bulk.len())
    }
}

fn result<T>(received: Result<Outcome<T>, oneshot::error::RecvError>) -> Result<T, SchedulerError> {
    match received {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(SchedulerError::Panicked),
        Err(_) => Err(SchedulerError::Stopped),
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A worker cannot panic: work is caught.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// A poisoned lock is taken as it is: the queues are whole between any two statements under it.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lane: Lane, job: Job) -> Result<(), SchedulerError> {
        let mut queues = self.lock();
        if queues.stopping {
            return Err(SchedulerError::Stopped);
        }
        let waiting = queues.interactive.len() + queues.bulk.len();
        let drain_s = queues.seconds_each * waiting as f64 / self.config.threads.max(1) as f64;
        let (queue, limit) = match lane {
            Lane::Interactive => (&mut queues.interactive, self.config.interactive_queue),
            Lane::Bulk => (&mut queues.bulk, self.config.bulk_queue),
        };
        if queue.len() >= limit {
            let retry_after_s = drain_s.ceil().clamp(1.0, 60.0) as u64;
            return Err(SchedulerError::Full { waiting: queue.len(), retry_after_s });
        }
        queue.push_back(job);
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// A worker's life: interactive first, then bulk, then wait; ends when stopping and both are empty.
    fn work(&self) {
        let mut queues = self.lock();
        loop {
            let job = queues.interactive.pop_front().or_else(|| queues.bulk.pop_front());
            if let Some(job) = job {
                drop(queues);
                let started = Instant::now();
                job();
                let took = started.elapsed();
                queues = self.lock();
                queues.record(took);
            } else if queues.stopping {
                return;
            } else {
                queues = self.wake.wait(queues).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Queues {
    fn record(&mut self, took: Duration) {
        self.seconds_each += 0.1 * (took.as_secs_f64() - self.seconds_each);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::sync::mpsc;

    fn one_thread(queue: usize) -> Scheduler {
        Scheduler::new("test", SchedulerConfig { threads: 1, interactive_queue: queue, bulk_queue: queue }).unwrap()
    }

    /// Occupies the only worker until the returned sender is used.
    async fn occupy(scheduler: &Arc<Scheduler>) -> mpsc::Sender<()> {
        let (release, hold) = mpsc::channel();
        let (running, started) = oneshot::channel();
        let scheduler = Arc::clone(scheduler);
        tokio::spawn(async move {
            scheduler
                .run(Lane::Bulk, move || {
                    running.send(()).unwrap();
                    hold.recv().unwrap();
                })
                .await
        });
        started.await.unwrap();
        release
    }

    async fn until_waiting(scheduler: &Scheduler, count: usize) {
        while scheduler.waiting().0 + scheduler.waiting().1 < count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn interactive_overtakes_bulk() {
        let scheduler = Arc::new(one_thread(8));
        let release = occupy(&scheduler).await;
        let (order, seen) = mpsc::channel();
        let mut tasks = Vec::new();
        for (n, lane) in [Lane::Bulk, Lane::Bulk, Lane::Interactive].into_iter().enumerate() {
            let (scheduler_, order) = (Arc::clone(&scheduler), order.clone());
            tasks.push(tokio::spawn(async move { scheduler_.run(lane, move || order.send(n).unwrap()).await }));
            until_waiting(&scheduler, n + 1).await;
        }
        release.send(()).unwrap();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn full_lane_refuses_at_once_and_the_other_lane_still_accepts() {
        let scheduler = Arc::new(one_thread(1));
        let release = occupy(&scheduler).await;
        let waiting = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Bulk, || 1).await }
        });
        until_waiting(&scheduler, 1).await;
        match scheduler.run(Lane::Bulk, || 2).await {
            Err(SchedulerError::Full { waiting: 1, retry_after_s: 1..=60 }) => {}
            other => panic!("{other:?}"),
        }
        let interactive = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Interactive, || 3).await }
        });
        until_waiting(&scheduler, 2).await;
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(interactive.await.unwrap().unwrap(), 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_of_a_caller_that_left_is_not_started() {
        let scheduler = Arc::new(one_thread(8));
        let release = occupy(&scheduler).await;
        let (ran, seen) = mpsc::channel();
        let gone = tokio::spawn({
            let (scheduler, ran) = (Arc::clone(&scheduler), ran.clone());
            async move { scheduler.run(Lane::Interactive, move || ran.send("gone").unwrap()).await }
        });
        until_waiting(&scheduler, 1).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        scheduler.run(Lane::Bulk, move || ran.send("here").unwrap()).await.unwrap();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["here"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_contained() {
        let scheduler = one_thread(8);
        let result = scheduler.run(Lane::Bulk, || panic!("on purpose")).await;
        assert!(matches!(result, Err::<(), _>(SchedulerError::Panicked)));
        assert_eq!(scheduler.run(Lane::Bulk, || 7).await.unwrap(), 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dropping_finishes_what_was_accepted() {
        let scheduler = Arc::new(one_thread(8));
        let release = occupy(&scheduler).await;
        let accepted = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Bulk, || 5).await }
        });
        until_waiting(&scheduler, 1).await;
        scheduler.shared.lock().stopping = true;
        assert!(matches!(scheduler.run(Lane::Bulk, || 6).await, Err(SchedulerError::Stopped)));
        release.send(()).unwrap();
        assert_eq!(accepted.await.unwrap().unwrap(), 5);
    }
}
