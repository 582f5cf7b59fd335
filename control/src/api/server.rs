//! Connections to the API: how many there may be, and how slow their clients may be.
//! It knows no URL path; what is answered is the router's.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutWriter;
use tracing::warn;

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once. One more takes the place of the one that has been without a request for the longest, or
    /// whose client has read nothing of its response for the longest.
    pub connections: usize,
    /// How long a request may take to arrive, and how long a connection may be without one.
    pub request: Duration,
    /// How long a client may read nothing of a response.
    pub stall: Duration,
    /// How long a response may take while other clients wait for a place.
    pub response: Duration,
}

/// Connections to each address if there are descriptors enough.
const CONNECTIONS: usize = 64;

impl Limits {
    /// For a process that may have so many descriptors open: each of the two addresses takes a quarter of them at
    /// most, so that what is left is enough for everything else.
    #[must_use]
    pub fn of_descriptors(descriptors: u64) -> Self {
        let quarter = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
        Self {
            connections: quarter.clamp(1, CONNECTIONS),
            request: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            response: Duration::from_secs(30),
        }
    }
}

/// Where connections come from.
pub trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// The next one.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// How often the log tells of too many connections or descriptors.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);
/// How long a client has read nothing of a response when its connection is closed for another one.
const STALLED: Duration = Duration::from_secs(1);
/// How long a client may take for its first request before its connection is closed for another one: what has come
/// already is not read until the connection's task has run.
const FIRST_REQUEST: Duration = Duration::from_millis(100);
/// How long nothing is accepted after the system refused.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Answers everybody who connects; `address` is for the log.
pub async fn serve<L: Listener>(
    listener: L,
    address: &str,
    router: Router,
    limits: Limits,
) -> Infallible {
    let mut open = Connections::default();
    let mut warned: Option<Instant> = None;
    let mut may_warn = || {
        let may = warned.is_none_or(|at| at.elapsed() >= BETWEEN_WARNINGS);
        if may {
            warned = Some(Instant::now());
        }
        may
    };
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                if may_warn() {
                    warn!(address, "no connections are accepted at present: {error}");
                }
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        if open.is_full(limits) {
            if may_warn() {
                let connections = limits.connections;
                warn!(
                    address,
                    connections,
                    "too many connections: those that have been without a request for the longest are closed"
                );
            }
            open.make_room(limits).await;
        }
        open.add(stream, router.clone(), limits);
    }
}

/// Whether the connection that was to be accepted is gone, which says nothing about others.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// The open connections, the oldest first.
#[derive(Default)]
struct Connections {
    open: Vec<Connection>,
    /// One has ended or is idle.
    room: Arc<Notify>,
}

struct Connection {
    task: AbortHandle,
    responses: Arc<Responses>,
}

/// The responses on one connection, which are made one after the other.
struct Responses {
    since: Instant,
    /// Milliseconds after that at which it became idle or, if it is not, at which it last ceased to be: a client that
    /// sends requests before it has read all responses makes it no younger.
    changed_ms: AtomicU64,
    /// Milliseconds after that since which the client reads nothing, plus one; 0 if it reads.
    stalled_ms: AtomicU64,
    progress: AtomicU8,
    /// Everything that came from the client is read.
    starved: AtomicBool,
    /// No request has come since all responses were written.
    idle: AtomicBool,
    /// A request has come.
    asked: AtomicBool,
    room: Arc<Notify>,
}

/// All requests have their responses, which are written.
const WRITTEN: u8 = 0;
/// The last response is being made.
const MADE: u8 = 1;
/// The last response is made, and perhaps waits in the connection's buffer for its client.
const UNWRITTEN: u8 = 2;

impl Responses {
    fn new(room: &Arc<Notify>) -> Self {
        Self {
            since: Instant::now(),
            changed_ms: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(0),
            progress: AtomicU8::new(WRITTEN),
            starved: AtomicBool::new(true),
            idle: AtomicBool::new(true),
            asked: AtomicBool::new(false),
            room: Arc::clone(room),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn begin(self: &Arc<Self>) -> Making {
        self.progress.store(MADE, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        if self.idle.swap(false, Ordering::Relaxed) {
            self.changed_ms.store(self.now_ms(), Ordering::Relaxed);
        }
        Making(Arc::clone(self))
    }

    /// The connection's buffer is empty.
    fn written(&self) {
        let (from, to) = (UNWRITTEN, WRITTEN);
        let _ = (self.progress).compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        self.rest();
    }

    fn received(&self, starved: bool) {
        self.starved.store(starved, Ordering::Relaxed);
        self.rest();
    }

    /// Becomes idle if there is nothing to do.
    fn rest(&self) {
        let done = self.progress.load(Ordering::Relaxed) == WRITTEN;
        if done && self.starved.load(Ordering::Relaxed) && !self.idle.swap(true, Ordering::Relaxed)
        {
            self.changed_ms.store(self.now_ms(), Ordering::Relaxed);
            self.room.notify_one();
        }
    }

    fn sent(&self, stalled: bool) {
        if !stalled {
            self.stalled_ms.store(0, Ordering::Relaxed);
        } else if self.stalled_ms.load(Ordering::Relaxed) == 0 {
            self.stalled_ms.store(self.now_ms() + 1, Ordering::Relaxed);
        }
    }

    fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Whether its client has had the time to ask.
    fn could_ask(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.since.elapsed() >= FIRST_REQUEST
    }

    /// How long it has been idle or busy.
    fn age(&self) -> Duration {
        let changed = Duration::from_millis(self.changed_ms.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(changed)
    }

    /// How long its client has read nothing of what waits for it.
    fn stalled(&self) -> Duration {
        let since = self.stalled_ms.load(Ordering::Relaxed).checked_sub(1);
        let since = since.map(Duration::from_millis);
        since.map_or(Duration::ZERO, |since| {
            self.since.elapsed().saturating_sub(since)
        })
    }
}

/// Held until the last piece of a response is made.
struct Making(Arc<Responses>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.progress.store(UNWRITTEN, Ordering::Relaxed);
    }
}

/// A connection that says when there is nothing to read and when all that was given to it is written: hyper flushes it then, and not before.
struct Written<S> {
    stream: S,
    responses: Arc<Responses>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Written<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.responses.received(read.is_pending());
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Written<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.responses.sent(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.responses.sent(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.responses.written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connections {
    fn is_full(&mut self, limits: Limits) -> bool {
        self.open.retain(|one| !one.task.is_finished());
        self.open.len() >= limits.connections
    }

    /// Closes the connection that has been idle for the longest; without one that whose client has read nothing for the
    /// longest, or whose responses take too long. Waits until there is one, or one ends.
    async fn make_room(&mut self, limits: Limits) {
        while self.is_full(limits) {
            let longest = |age: fn(&Responses) -> Duration, least: Duration, idle: bool| {
                let all = self.open.iter().enumerate();
                let fit = all.filter(|(_, one)| {
                    one.responses.is_idle() == idle && one.responses.could_ask()
                });
                let ages = fit.map(|(place, one)| (age(&one.responses), Reverse(place)));
                ages.filter(|(age, _)| *age >= least).max()
            };
            let place = longest(Responses::age, Duration::ZERO, true)
                .or_else(|| longest(Responses::stalled, STALLED, false))
                .or_else(|| longest(Responses::age, limits.response, false));
            if let Some((_, Reverse(place))) = place {
                self.open.remove(place).task.abort();
                return;
            }
            let _ = tokio::time::timeout(AFTER_FAILURE, self.room.notified()).await;
        }
    }

    fn add<S>(&mut self, stream: S, router: Router, limits: Limits)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let responses = Arc::new(Responses::new(&self.room));
        let connection = serve_one(stream, router, limits, Arc::clone(&responses));
        let room = Arc::clone(&self.room);
        let task = tokio::spawn(async move {
            connection.await;
            room.notify_one();
        });
        self.open.push(Connection {
            task: task.abort_handle(),
            responses,
        });
    }
}

/// Answers the requests of one connection.
async fn serve_one<S>(stream: S, router: Router, limits: Limits, responses: Arc<Responses>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.stall));
    let stream = Written {
        stream: Box::pin(stream),
        responses: Arc::clone(&responses),
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let making = responses.begin();
        let response = router.call(request);
        async move {
            let response = response.await?;
            Ok::<Response<Body>, Infallible>(response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    // Until the last frame.
                    let _ = &making;
                    frame
                }))
            }))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(MOST_HEADERS_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A client that went away or was too slow has nobody who would have to know.
    drop(served);
}

/// Far more than requests have.
const MOST_HEADERS_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests;
