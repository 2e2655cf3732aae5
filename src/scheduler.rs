//! Bounded lanes for work that costs processor time: interactive before bulk; what cannot be done in time is refused at
//! once, with the time after which it could be. Nothing here blocks a tokio worker; work whose caller has gone is dropped
//! unstarted, and started work can ask whether it is still wanted.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Finished pieces by which the rate of a lane is told: some seconds of a core that looks at photos.
const RATED: usize = 64;
/// Fewer say nothing of the rate yet.
const LEAST_RATED: usize = 4;
/// Seconds after which a client may be told to come back.
const RETRY_AFTER_S: std::ops::RangeInclusive<f64> = 1.0..=60.0;

/// Which queue a piece of work waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A shopper waits: served first.
    Interactive,
    /// A catalog job waits: served when nobody else does.
    Bulk,
}

/// Limits of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneConfig {
    /// Pieces that may wait.
    pub queue: usize,
    /// Longest wait for a thread: a piece that would wait longer, at the rate at which the lane drains, is refused; one that
    /// does is given up. None: whoever asks has time.
    pub max_wait: Option<Duration>,
}

/// Sizes of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Worker threads, one piece of work each at a time.
    pub threads: usize,
    /// The lane that is served first.
    pub interactive: LaneConfig,
    /// The other.
    pub bulk: LaneConfig,
    /// How much the threads give way to others of the machine: 0 not at all, 19 the most (Unix nice value; Linux only).
    pub nice: u8,
}

/// Why a piece of work was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchedulerError {
    /// The lane is full.
    #[error("{waiting} pieces of work already wait; try again in {retry_after_s} s")]
    Full {
        /// How many wait.
        waiting: usize,
        /// When what waits now should have been started; 1 to 60 seconds.
        retry_after_s: u64,
    },
    /// It would not be, or was not, started in time.
    #[error("the work would wait longer than {} s for a thread; try again in {retry_after_s} s", limit.as_secs_f64())]
    Late {
        /// The lane's limit.
        limit: Duration,
        /// When what waits now should have been started; 1 to 60 seconds.
        retry_after_s: u64,
    },
    /// The process is shutting down.
    #[error("the service is shutting down")]
    Stopped,
    /// The work panicked: a fault of ours, contained.
    #[error("the work panicked")]
    Panicked,
}

/// What became of a lane's pieces since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Wait now.
    pub waiting: usize,
    /// Were done.
    pub done: u64,
    /// Were refused at once: the lane was full, or the wait too long.
    pub refused: u64,
    /// Were accepted and not started in time.
    pub late: u64,
    /// Were dropped unstarted, their callers having gone.
    pub cancelled: u64,
}

/// What running work knows of its caller.
pub struct Ticket<'a> {
    /// Time it waited for its thread.
    pub waited: Duration,
    is_gone: &'a dyn Fn() -> bool,
}

impl Ticket<'_> {
    /// Whether nobody waits for the result any more: the next step need not be taken.
    pub fn is_gone(&self) -> bool {
        (self.is_gone)()
    }
}

/// A pool of threads behind two bounded lanes. Dropping it finishes what was accepted.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queues: Mutex<Queues>,
    wake: Condvar,
}

struct Queues {
    interactive: Queue,
    bulk: Queue,
    stopping: bool,
    threads: usize,
    /// Moving average of the seconds one piece takes; 0 until one was done. Only where no rate is known, and only to say
    /// when to come again: one slow piece moves it, and must not refuse others.
    seconds_each: f64,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    config: LaneConfig,
    counts: LaneCounts,
    /// When the last pieces were finished, since the queue was last empty: what a queue does that has nothing to do says
    /// nothing of what it can.
    finished: VecDeque<Instant>,
}

struct Waiting {
    piece: Box<dyn Piece>,
    since: Instant,
}

/// Work with the way back to its caller.
trait Piece: Send {
    fn is_gone(&self) -> bool;
    /// Calls `finished` once the work is done, before its caller is told: who has an answer finds it counted.
    fn run(self: Box<Self>, waited: Duration, finished: &dyn Fn());
    fn give_up(self: Box<Self>, error: SchedulerError);
}

struct Work<T, F> {
    work: F,
    caller: oneshot::Sender<Result<T, SchedulerError>>,
    span: tracing::Span,
}

impl<T, F> Piece for Work<T, F>
where
    T: Send,
    F: FnOnce(&Ticket<'_>) -> T + Send,
{
    fn is_gone(&self) -> bool {
        self.caller.is_closed()
    }

    fn run(self: Box<Self>, waited: Duration, finished: &dyn Fn()) {
        let Self { work, caller, span } = *self;
        let is_gone = || caller.is_closed();
        let ticket = Ticket { waited, is_gone: &is_gone };
        let outcome = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| work(&ticket))));
        finished();
        // The caller may have gone meanwhile: nobody to tell.
        let _ = caller.send(outcome.map_err(|_| SchedulerError::Panicked));
    }

    fn give_up(self: Box<Self>, error: SchedulerError) {
        let _ = self.caller.send(Err(error));
    }
}

impl Scheduler {
    /// Starts the threads; `name` is seen in debuggers.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(name: &str, config: SchedulerConfig) -> std::io::Result<Self> {
        let threads = config.threads.max(1);
        let queues = Queues {
            interactive: Queue::new(config.interactive),
            bulk: Queue::new(config.bulk),
            stopping: false,
            threads,
            seconds_each: 0.0,
        };
        let shared = Arc::new(Shared { queues: Mutex::new(queues), wake: Condvar::new() });
        let threads = (0..threads)
            .map(|i| {
                let shared = Arc::clone(&shared);
                let work = move || {
                    give_way(config.nice);
                    shared.work();
                };
                std::thread::Builder::new().name(format!("{name}-{i}")).spawn(work)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Runs `work` on a worker and waits for its result without blocking the runtime.
    ///
    /// Dropping the future before the work started cancels it.
    ///
    /// # Errors
    /// [`SchedulerError::Full`] or [`SchedulerError::Late`] at once when the work cannot be done in time.
    pub async fn run<T, F>(&self, lane: Lane, work: F) -> Result<T, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce(&Ticket<'_>) -> T + Send + 'static,
    {
        self.submit(lane, work)?.await.unwrap_or(Err(SchedulerError::Stopped))
    }

    /// [`Scheduler::run`] for work that takes less time than to hand it over and back (two wake-ups, some 20 µs on an idle
    /// machine, and the cache of another core): done at once on the caller's thread, unless somebody waits in `lane`.
    ///
    /// # Errors
    /// As [`Scheduler::run`].
    pub async fn run_brief<T, F>(&self, lane: Lane, work: F) -> Result<T, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce(&Ticket<'_>) -> T + Send + 'static,
    {
        if !self.shared.lock().is_free(lane) {
            return self.run(lane, work).await;
        }
        // Whoever polls this is there.
        let ticket = Ticket { waited: Duration::ZERO, is_gone: &|| false };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&ticket)));
        self.shared.lock().of(lane).counts.done += 1;
        outcome.map_err(|_| SchedulerError::Panicked)
    }

    /// [`Scheduler::run`] for a thread that may wait, never one of the runtime's.
    ///
    /// # Errors
    /// As [`Scheduler::run`].
    pub fn run_blocking<T, F>(&self, lane: Lane, work: F) -> Result<T, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce(&Ticket<'_>) -> T + Send + 'static,
    {
        self.submit(lane, work)?.blocking_recv().unwrap_or(Err(SchedulerError::Stopped))
    }

    fn submit<T, F>(&self, lane: Lane, work: F) -> Result<oneshot::Receiver<Result<T, SchedulerError>>, SchedulerError>
    where
        T: Send + 'static,
        F: FnOnce(&Ticket<'_>) -> T + Send + 'static,
    {
        let (caller, receiver) = oneshot::channel();
        self.shared.push(lane, Box::new(Work { work, caller, span: tracing::Span::current() }))?;
        Ok(receiver)
    }

    /// What became of the pieces: (interactive, bulk).
    pub fn counts(&self) -> (LaneCounts, LaneCounts) {
        let queues = self.shared.lock();
        (queues.interactive.counts(), queues.bulk.counts())
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

    fn push(&self, lane: Lane, piece: Box<dyn Piece>) -> Result<(), SchedulerError> {
        let mut queues = self.lock();
        if queues.stopping {
            return Err(SchedulerError::Stopped);
        }
        queues.admit(lane)?;
        queues.of(lane).waiting.push_back(Waiting { piece, since: Instant::now() });
        drop(queues);
        self.wake.notify_one();
        Ok(())
    }

    /// A worker's life: interactive first, then bulk, then wait; ends when stopping and both are empty.
    fn work(&self) {
        let mut queues = self.lock();
        loop {
            if let Some((lane, Waiting { piece, since })) = queues.next() {
                drop(queues);
                let started = Instant::now();
                piece.run(started - since, &|| self.lock().record(lane, started.elapsed()));
                queues = self.lock();
            } else if queues.stopping {
                return;
            } else {
                queues = self.wake.wait(queues).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Queues {
    fn of(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// Whether a piece may start at once without overtaking another.
    fn is_free(&self, lane: Lane) -> bool {
        let before = match lane {
            Lane::Interactive => 0,
            Lane::Bulk => self.bulk.waiting.len(),
        };
        !self.stopping && before + self.interactive.waiting.len() == 0
    }

    /// Whether another piece may wait in `lane`; callers that have gone make room.
    fn admit(&mut self, lane: Lane) -> Result<(), SchedulerError> {
        let queue = self.of(lane);
        if !queue.is_full() && queue.too_late().is_none() {
            return Ok(());
        }
        queue.forget_gone();
        let waiting = queue.waiting.len();
        let (is_full, too_late) = (queue.is_full(), queue.too_late());
        let retry_after_s = retry_after_s(self.drain_s(lane));
        let refusal = match too_late {
            _ if is_full => SchedulerError::Full { waiting, retry_after_s },
            Some(limit) => SchedulerError::Late { limit, retry_after_s },
            None => return Ok(()),
        };
        self.of(lane).counts.refused += 1;
        Err(refusal)
    }

    /// Seconds in which what waits in `lane` now should have been started: at the rate at which its pieces were finished
    /// lately, or by what a piece takes, where there were too few. Pieces of the other lane come in by the rate.
    fn drain_s(&self, lane: Lane) -> f64 {
        let (queue, before) = match lane {
            Lane::Interactive => (&self.interactive, 0),
            Lane::Bulk => (&self.bulk, self.interactive.waiting.len()),
        };
        let waiting = queue.waiting.len();
        let by_time = || self.seconds_each * (waiting + before) as f64 / self.threads as f64;
        queue.seconds_a_piece().map_or_else(by_time, |each| each * waiting as f64)
    }

    /// The next piece that is still wanted and in time.
    fn next(&mut self) -> Option<(Lane, Waiting)> {
        [Lane::Interactive, Lane::Bulk].into_iter().find_map(|lane| {
            loop {
                let Some(next) = self.of(lane).waiting.pop_front() else {
                    self.of(lane).finished.clear();
                    return None;
                };
                let limit = self.of(lane).config.max_wait.filter(|limit| next.since.elapsed() > *limit);
                if next.piece.is_gone() {
                    self.of(lane).counts.cancelled += 1;
                } else if let Some(limit) = limit {
                    let retry_after_s = retry_after_s(self.drain_s(lane));
                    self.of(lane).counts.late += 1;
                    next.piece.give_up(SchedulerError::Late { limit, retry_after_s });
                } else {
                    return Some((lane, next));
                }
            }
        })
    }

    fn record(&mut self, lane: Lane, took: Duration) {
        let took = took.as_secs_f64();
        self.seconds_each =
            if self.seconds_each == 0.0 { took } else { self.seconds_each + 0.1 * (took - self.seconds_each) };
        let queue = self.of(lane);
        queue.counts.done += 1;
        if queue.finished.len() == RATED {
            queue.finished.pop_front();
        }
        queue.finished.push_back(Instant::now());
    }
}

impl Queue {
    fn new(config: LaneConfig) -> Self {
        Self { waiting: VecDeque::new(), config, counts: LaneCounts::default(), finished: VecDeque::new() }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= self.config.queue
    }

    /// Seconds between two pieces, as they were finished lately; `None` until enough were.
    fn seconds_a_piece(&self) -> Option<f64> {
        let first = self.finished.front().filter(|_| self.finished.len() >= LEAST_RATED)?;
        Some(first.elapsed().as_secs_f64() / self.finished.len() as f64)
    }

    /// The lane's limit, where another piece would wait longer.
    fn too_late(&self) -> Option<Duration> {
        let expected = self.seconds_a_piece()? * self.waiting.len() as f64;
        self.config.max_wait.filter(|limit| expected > limit.as_secs_f64())
    }

    fn forget_gone(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| !waiting.piece.is_gone());
        self.counts.cancelled += (before - self.waiting.len()) as u64;
    }

    fn counts(&self) -> LaneCounts {
        LaneCounts { waiting: self.waiting.len(), ..self.counts }
    }
}

fn retry_after_s(drain_s: f64) -> u64 {
    drain_s.ceil().clamp(*RETRY_AFTER_S.start(), *RETRY_AFTER_S.end()) as u64
}

/// Lets others of the machine go first where they want the processor too. On other systems than Linux a nice value is the
/// whole process's.
fn give_way(nice: u8) {
    #[cfg(target_os = "linux")]
    if nice > 0
        && let Err(error) = rustix::process::nice(i32::from(nice))
    {
        tracing::debug!(%error, "the priority of a thread stays as it is");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::sync::mpsc;

    fn one_thread(queue: usize) -> Scheduler {
        let lane = LaneConfig { queue, max_wait: None };
        Scheduler::new("test", SchedulerConfig { threads: 1, interactive: lane, bulk: lane, nice: 1 }).unwrap()
    }

    /// Occupies the only worker until the returned sender is used.
    async fn occupy(scheduler: &Arc<Scheduler>) -> mpsc::Sender<()> {
        let (release, hold) = mpsc::channel();
        let (running, started) = oneshot::channel();
        let scheduler = Arc::clone(scheduler);
        tokio::spawn(async move {
            scheduler
                .run(Lane::Bulk, move |_| {
                    running.send(()).unwrap();
                    hold.recv().unwrap();
                })
                .await
        });
        started.await.unwrap();
        release
    }

    async fn until_waiting(scheduler: &Scheduler, count: usize) {
        while scheduler.counts().0.waiting + scheduler.counts().1.waiting < count {
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
            tasks.push(tokio::spawn(async move { scheduler_.run(lane, move |_| order.send(n).unwrap()).await }));
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
            async move { scheduler.run(Lane::Bulk, |_| 1).await }
        });
        until_waiting(&scheduler, 1).await;
        match scheduler.run(Lane::Bulk, |_| 2).await {
            Err(SchedulerError::Full { waiting: 1, retry_after_s: 1..=60 }) => {}
            other => panic!("{other:?}"),
        }
        let interactive = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Interactive, |_| 3).await }
        });
        until_waiting(&scheduler, 2).await;
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        assert_eq!(interactive.await.unwrap().unwrap(), 3);
        let (interactive, bulk) = scheduler.counts();
        assert_eq!((interactive.refused, bulk.refused), (0, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_of_a_caller_that_left_is_not_started_and_makes_room() {
        let scheduler = Arc::new(one_thread(1));
        let release = occupy(&scheduler).await;
        let (ran, seen) = mpsc::channel();
        let gone = tokio::spawn({
            let (scheduler, ran) = (Arc::clone(&scheduler), ran.clone());
            async move { scheduler.run(Lane::Bulk, move |_| ran.send("gone").unwrap()).await }
        });
        until_waiting(&scheduler, 1).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        let here = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Bulk, move |_| ran.send("here").unwrap()).await }
        });
        while scheduler.counts().1.cancelled == 0 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        here.await.unwrap().unwrap();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["here"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn running_work_learns_that_its_caller_left() {
        let scheduler = Arc::new(one_thread(1));
        let (running, started) = oneshot::channel();
        let (told, learned) = mpsc::channel();
        let leaving = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move {
                let work = move |ticket: &Ticket<'_>| {
                    running.send(ticket.is_gone()).unwrap();
                    while !ticket.is_gone() {
                        std::thread::yield_now();
                    }
                    told.send(()).unwrap();
                };
                scheduler.run(Lane::Interactive, work).await
            }
        });
        assert!(!started.await.unwrap());
        leaving.abort();
        tokio::task::spawn_blocking(move || learned.recv().unwrap()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_was_not_started_in_time_is_given_up() {
        let scheduler = Arc::new(one_thread(8));
        scheduler.shared.lock().interactive.config.max_wait = Some(Duration::ZERO);
        let release = occupy(&scheduler).await;
        let waiting = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Interactive, |_| 1).await }
        });
        until_waiting(&scheduler, 1).await;
        release.send(()).unwrap();
        assert!(matches!(waiting.await.unwrap(), Err(SchedulerError::Late { .. })));
        let (interactive, _) = scheduler.counts();
        assert_eq!((interactive.refused, interactive.late), (0, 1));
    }

    /// Queues with one piece waiting in the bulk lane, which may wait a second; and its caller.
    fn one_waits() -> (Queues, oneshot::Receiver<Result<(), SchedulerError>>) {
        let lane = LaneConfig { queue: 100, max_wait: Some(Duration::from_secs(1)) };
        let (interactive, mut bulk) = (Queue::new(lane), Queue::new(lane));
        let (caller, receiver) = oneshot::channel();
        let work = |_: &Ticket<'_>| ();
        let piece = Box::new(Work { work, caller, span: tracing::Span::none() });
        bulk.waiting.push_back(Waiting { piece, since: Instant::now() });
        (Queues { interactive, bulk, stopping: false, threads: 2, seconds_each: 60.0 }, receiver)
    }

    #[test]
    fn the_rate_of_a_lane_says_who_is_refused_and_when_to_come_again() {
        let (mut queues, _caller) = one_waits();
        // One slow piece says nothing of the others: nobody is refused for it.
        assert!((queues.drain_s(Lane::Bulk) - 30.0).abs() < 1e-9);
        assert!(queues.admit(Lane::Bulk).is_ok());
        // Eight in sixteen seconds: the other lane goes first, whatever a piece takes.
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(16)) else { return };
        queues.bulk.finished.extend(std::iter::once(long_ago).chain(std::iter::repeat_n(Instant::now(), 7)));
        match queues.admit(Lane::Bulk) {
            Err(SchedulerError::Late { retry_after_s: 2..=3, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(queues.bulk.counts().refused, 1);
    }

    #[test]
    fn a_lane_that_ran_empty_has_no_rate() {
        let (mut queues, caller) = one_waits();
        queues.bulk.finished.extend(std::iter::repeat_n(Instant::now(), 8));
        drop(caller);
        assert!(queues.next().is_none());
        assert_eq!((queues.bulk.counts().cancelled, queues.bulk.seconds_a_piece()), (1, None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_contained() {
        let scheduler = one_thread(8);
        let result = scheduler.run(Lane::Bulk, |_| panic!("on purpose")).await;
        assert!(matches!(result, Err::<(), _>(SchedulerError::Panicked)));
        assert_eq!(scheduler.run(Lane::Bulk, |_| 7).await.unwrap(), 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn brief_work_runs_on_the_thread_that_asks_unless_others_wait() {
        let scheduler = Arc::new(one_thread(8));
        let asks = std::thread::current().id();
        let here = |_: &Ticket<'_>| std::thread::current().id();
        assert_eq!(scheduler.run_brief(Lane::Interactive, here).await.unwrap(), asks);
        let panicked = scheduler.run_brief(Lane::Interactive, |_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err::<(), _>(SchedulerError::Panicked)));
        let release = occupy(&scheduler).await;
        // All threads at work is no reason to wait; one that waits already is.
        assert_eq!(scheduler.run_brief(Lane::Interactive, here).await.unwrap(), asks);
        let waits = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Interactive, |_| ()).await }
        });
        until_waiting(&scheduler, 1).await;
        let behind = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run_brief(Lane::Interactive, here).await }
        });
        until_waiting(&scheduler, 2).await;
        release.send(()).unwrap();
        assert_ne!(behind.await.unwrap().unwrap(), asks);
        waits.await.unwrap().unwrap();
        // Three on this thread, of which one panicked, and two on the worker; what occupied it was in the other lane.
        assert_eq!(scheduler.counts().0.done, 5);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn dropping_finishes_what_was_accepted() {
        let scheduler = Arc::new(one_thread(8));
        let release = occupy(&scheduler).await;
        let accepted = tokio::spawn({
            let scheduler = Arc::clone(&scheduler);
            async move { scheduler.run(Lane::Bulk, |_| 5).await }
        });
        until_waiting(&scheduler, 1).await;
        scheduler.shared.lock().stopping = true;
        assert!(matches!(scheduler.run(Lane::Bulk, |_| 6).await, Err(SchedulerError::Stopped)));
        release.send(()).unwrap();
        assert_eq!(accepted.await.unwrap().unwrap(), 5);
    }
}
