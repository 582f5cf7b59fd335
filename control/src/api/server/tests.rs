//! Clients that say nothing, read nothing, or are too many. Time jumps to whatever is waited for.

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::api::stream::streamed;

const LIMITS: Limits = Limits {
    connections: 3,
    request: Duration::from_secs(10),
    stall: Duration::from_secs(10),
    response: Duration::from_secs(30),
};
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// More than the socket's buffers.
const LONG: usize = 64 << 20;

/// A long response in pieces, as lists are.
fn pieces() -> Body {
    streamed(async |pieces| {
        for _ in 0..LONG >> 16 {
            pieces.send("x".repeat(1 << 16)).await?;
        }
        Ok(())
    })
}

/// A server with a short response and two long ones.
fn start() -> (tempfile::TempDir, impl Fn() -> UnixStream) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new()
        .route("/", get(|| async { "pong" }))
        .route("/long", get(|| async { "x".repeat(LONG) }))
        .route("/pieces", get(|| async { pieces() }));
    tokio::spawn(async move { serve(listener, "test", router, LIMITS).await });
    let connect = move || {
        let stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.set_nonblocking(true).unwrap();
        UnixStream::from_std(stream).unwrap()
    };
    (folder, connect)
}

/// Sends the request, and says whether it was answered.
async fn ask(stream: &mut UnixStream) -> bool {
    if stream.write_all(REQUEST).await.is_err() {
        return false;
    }
    let (mut response, mut byte) = (Vec::new(), [0]);
    while !response.ends_with(b"pong") {
        match stream.read(&mut byte).await {
            Ok(1) => response.push(byte[0]),
            _ => return false,
        }
    }
    true
}

async fn is_closed(stream: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    // Also with a response like "408".
    stream.read_to_end(&mut rest).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_is_closed_before_and_after_the_first_request() {
    let (_folder, connect) = start();
    let mut silent = connect();
    assert!(is_closed(&mut silent).await);
    let mut slow = connect();
    slow.write_all(b"GET / HT").await.unwrap();
    assert!(is_closed(&mut slow).await);
    let mut once = connect();
    let begin = Instant::now();
    assert!(ask(&mut once).await && ask(&mut once).await);
    assert!(is_closed(&mut once).await);
    assert!(begin.elapsed() >= LIMITS.request);
}

#[tokio::test(start_paused = true)]
async fn one_more_takes_the_place_of_the_oldest_that_asks_nothing() {
    let (_folder, connect) = start();
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut one = connect();
        assert!(ask(&mut one).await);
        held.push(one);
    }
    let begin = Instant::now();
    for _ in 0..10 {
        let mut one = connect();
        assert!(ask(&mut one).await);
        held.push(one);
        assert!(is_closed(&mut held.remove(0)).await);
    }
    assert!(begin.elapsed() < LIMITS.request);
    for one in &mut held {
        assert!(ask(one).await);
    }
}

#[tokio::test(start_paused = true)]
async fn newcomers_do_not_take_each_others_places_before_they_could_ask() {
    let (_folder, connect) = start();
    let mut busy = Vec::new();
    for _ in 1..LIMITS.connections {
        let mut one = connect();
        one.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        one.read_u8().await.unwrap();
        busy.push(one);
    }
    // Both are waiting to be accepted, one with its request.
    let mut honest = connect();
    honest.write_all(REQUEST).await.unwrap();
    let _bare = connect();
    assert!(ask(&mut honest).await);
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_gives_up_its_place_first() {
    let (_folder, connect) = start();
    let mut held: Vec<_> = (0..LIMITS.connections).map(|_| connect()).collect();
    // The first that was accepted asks last.
    for one in held.iter_mut().rev() {
        assert!(ask(one).await);
        tokio::time::sleep(LIMITS.request / 10).await;
    }
    assert!(ask(&mut connect()).await);
    assert!(is_closed(&mut held.pop().unwrap()).await);
    for one in &mut held {
        assert!(ask(one).await);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_on_and_reads_little_keeps_nobody_out() {
    for (bytes, every) in [(1, 9000), (8 << 10, 900), (64 << 10, 900)] {
        let (_folder, connect) = start();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..LIMITS.connections {
            let (mut read, mut write) = connect().into_split();
            clients.spawn(async move {
                let requests = REQUEST.repeat(1000);
                while write.write_all(&requests).await.is_ok() {}
            });
            clients.spawn(async move {
                let mut some = vec![0; bytes];
                while matches!(read.read(&mut some).await, Ok(1..)) {
                    tokio::time::sleep(Duration::from_millis(every)).await;
                }
            });
        }
        tokio::time::sleep(LIMITS.request / 2).await;
        let answered = tokio::time::timeout(LIMITS.response + LIMITS.request, async {
            ask(&mut connect()).await
        });
        assert_eq!(answered.await, Ok(true), "{bytes} bytes every {every} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn crowds_that_read_nothing_delay_nobody_for_long() {
    let (_folder, connect) = start();
    let mut stalled = Vec::new();
    // As many wait to be accepted.
    for _ in 0..2 * LIMITS.connections {
        let mut one = connect();
        one.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        stalled.push(one);
    }
    let begin = Instant::now();
    assert!(ask(&mut connect()).await);
    assert!(begin.elapsed() < STALLED * 4, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_closed_and_keeps_nobody_out() {
    let (_folder, connect) = start();
    let mut stalled = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut one = connect();
        one.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        stalled.push(one);
    }
    // None of them asks nothing, so it waits until one is given up.
    let mut one = connect();
    assert!(ask(&mut one).await);
    let mut given_up = 0;
    for mut one in stalled {
        let mut rest = Vec::new();
        let _ = one.read_to_end(&mut rest).await;
        given_up += usize::from(rest.len() < LONG);
    }
    assert!(given_up > 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_has_its_time_however_old_its_connection_is() {
    const LONG_REQUEST: &[u8] = b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n";
    let (_folder, connect) = start();
    let mut scraper = connect();
    let begin = Instant::now();
    while begin.elapsed() <= LIMITS.response {
        assert!(ask(&mut scraper).await);
        tokio::time::sleep(LIMITS.request / 2).await;
    }
    // All connections have a response under way, the oldest one's has just begun.
    let mut all = Vec::new();
    for _ in 1..LIMITS.connections {
        let mut one = connect();
        one.write_all(LONG_REQUEST).await.unwrap();
        one.read_u8().await.unwrap();
        all.push(one);
    }
    scraper.write_all(LONG_REQUEST).await.unwrap();
    scraper.read_u8().await.unwrap();
    let mut more = connect();
    more.write_all(REQUEST).await.unwrap();
    let (mut seen, mut some) = (0, vec![0; 1 << 16]);
    while seen < LONG {
        let count = scraper.read(&mut some).await.unwrap();
        assert_ne!(count, 0, "closed after {seen} bytes");
        seen += count;
    }
    assert!(ask(&mut more).await);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_has_begun_is_not_cut_for_a_newcomer() {
    for path in ["/long", "/pieces"] {
        let (_folder, connect) = start();
        let mut readers = Vec::new();
        for _ in 0..LIMITS.connections {
            let mut one = connect();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            one.write_all(request.as_bytes()).await.unwrap();
            one.read_u8().await.unwrap();
            readers.push(one);
        }
        let mut newcomer = connect();
        newcomer.write_all(REQUEST).await.unwrap();
        // The newcomer is accepted, and the server looks for a place.
        tokio::time::sleep(AFTER_FAILURE * 2).await;
        for reader in &mut readers {
            let mut response = Vec::new();
            let _ = reader.read_to_end(&mut response).await;
            assert!(response.len() >= LONG, "{path}: {} bytes", response.len());
        }
        assert!(ask(&mut newcomer).await, "{path}");
    }
}

#[test]
fn connections_leave_descriptors_for_everything_else() {
    for (descriptors, connections) in [(0, 1), (200, 50), (1024, 64), (u64::MAX, 64)] {
        let limits = Limits::of_descriptors(descriptors);
        assert_eq!(limits.connections, connections, "{descriptors}");
    }
}
