//! Connections: how many at a time, how slow they may be, and how they end. HTTP/1.1 only: TLS and HTTP/2 end at the
//! proxy in front, and waiting for the preface of cleartext HTTP/2 would be a wait without a limit (hyper-util's
//! version detection has none).

use super::state::{AppConfig, HttpLimits};
use super::{router, starting};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};

/// Bytes of a request's head; also what hyper reads at once. A filter in the query string may have 16 KiB, three
/// times that when every character is percent-encoded.
const HEAD_BYTES: usize = 96 << 10;
/// Pause after the system refused a connection: mostly it is out of file descriptors, and asking at once is a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is done, then finishes what was accepted, for at most
/// [`super::HttpLimits::drain_timeout`]. Until `opening` gives what to serve, `/health/live` says that the process lives,
/// `/health/ready` that it is not ready, and all else when to come again.
///
/// The caller checks the address with [`super::refuse_open_listener`] and closes the service afterwards.
///
/// # Errors
/// What `opening` fails with; `TimedOut` when requests were still under way at the end of the drain time: they are cut off.
pub async fn run<E: From<io::Error>>(
    listener: TcpListener,
    limits: HttpLimits,
    opening: impl Future<Output = Result<AppConfig, E>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), E> {
    let opened = Arc::new(OnceLock::new());
    let mut app = starting::router(Arc::clone(&opened));
    let mut opening = pin!(opening);
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_buf_size(HEAD_BYTES);
    let free = Arc::new(Semaphore::new(limits.connections));
    let open = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    let mut service = None;
    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            config = &mut opening, if opened.get().is_none() => {
                let config = config?;
                service = Some(Arc::clone(&config.service));
                let router = router(config);
                app = opened.get_or_init(|| router).clone();
                continue;
            }
            accepted = accept(&listener, &free) => accepted,
        };
        let io = TokioIo::new(Steady::new(stream, limits.write_timeout));
        let service = TowerToHyperService::new(app.clone());
        let connection = open.watch(builder.serve_connection(io, service).into_owned());
        tokio::spawn(async move {
            // Peers that hang up, stall or speak no HTTP are everyday.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if let Some(service) = service {
        service.end_waits();
    }
    tracing::info!(connections = open.count(), "shutting down");
    let cut_off = |_| io::Error::new(io::ErrorKind::TimedOut, "requests were cut off at the end of the drain time");
    Ok(tokio::time::timeout(limits.drain_timeout, open.shutdown()).await.map_err(cut_off)?)
}

/// The next connection and its place among those allowed. Cancel-safe: a place not used is given back.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a place in the end.
    let place = Arc::clone(free).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small responses wait for the peer's delayed ACK; refused only for a dead socket.
                let _ = stream.set_nodelay(true);
                return (stream, place);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A stream whose writes fail when the peer reads nothing for a time: hyper limits how slowly requests come, not how
/// slowly responses go.
struct Steady {
    stream: TcpStream,
    patience: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Steady {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, deadline: None }
    }

    /// Passes a ready result on; fails when it has been pending for too long.
    fn limited<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.deadline = None;
            return result;
        }
        let until = Instant::now() + self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Steady {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Steady {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limited(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.limited(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.limited(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limited(cx, result)
    }
}
