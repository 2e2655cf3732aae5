//! When a person or the system wants the process to end: Ctrl-C (SIGINT) and SIGTERM mean the same.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends at the first SIGINT or SIGTERM.
///
/// # Errors
/// When the system refuses to tell.
pub(super) async fn stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// At the first signal sets `stopping` and says so; ends at the second.
pub(super) async fn stop_then_interrupt(stopping: &AtomicBool) -> io::Result<()> {
    stop().await?;
    stopping.store(true, Ordering::Relaxed);
    eprintln!("stopping: photos in flight are finished; once more breaks them off");
    stop().await
}
