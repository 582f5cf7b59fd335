//! Neighbours: what the configuration and the workers' tables have, and who does not answer.
//! Never waits for a worker for long: one that does not answer in time makes the response incomplete.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::neighbour::record::{NeighbourRecord, NeighbourState};
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::worker::NeighbourListing;
use serde::Deserialize;
use tokio::time::Instant;

use super::state::{Api, YIELD};
use super::stream::{Gone, Pieces, streamed};
use crate::config::suggest::nearest;
use crate::incidents::Unreachable;
use crate::report::neighbours::{Neighbour, UnreachableNeighbour};
use crate::running::lock;

/// Real servers that are named for one neighbour; an address may have a hundred thousand services.
const MOST_REALS: usize = 10;
/// Neighbours that are sent at once.
const PIECE: usize = 512;
/// How long the workers may make no step: a table has 4096 places, and the slowest step shows two.
const PATIENCE: Duration = Duration::from_secs(2);
/// Workers refill their part in this time even if they share a CPU with this thread.
const PAUSE: Duration = Duration::from_micros(500);
/// How long a request waits for the one before it.
const TURN: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize)]
pub(super) struct NeighboursQuery {
    port: Option<String>,
    address: Option<IpAddr>,
}

type Key = (PortId, IpAddr);

/// Which neighbours are asked for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    port: Option<PortId>,
    address: Option<IpAddr>,
}

impl Wanted {
    fn has(&self, (port, address): Key) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
            && self.address.is_none_or(|wanted| wanted == address)
    }
}

pub(super) async fn list(State(api): State<Api>, Query(query): Query<NeighboursQuery>) -> Response {
    let snapshot = Arc::clone(lock(&api.running).snapshot());
    let port = match query.port.as_deref().map(|name| port(&snapshot, name)) {
        Some(Err(said)) => return (StatusCode::NOT_FOUND, said).into_response(),
        Some(Ok(port)) => Some(port),
        None => None,
    };
    let wanted = Wanted {
        port,
        address: query.address,
    };
    let turn = Arc::clone(&api.neighbour_listings).acquire_owned();
    // Each takes the workers' time.
    let Ok(Ok(turn)) = tokio::time::timeout(TURN, turn).await else {
        let said = "somebody else lists neighbours at present; try again in a moment\n";
        return (StatusCode::SERVICE_UNAVAILABLE, said).into_response();
    };
    let body = streamed(async move |pieces| {
        let _turn = turn;
        tokio::select! {
            sent = send(&api, wanted, &pieces) => sent,
            () = pieces.gone() => Err(Gone),
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The port of a name, which is not the TAP of the same name.
fn port(snapshot: &Snapshot, name: &str) -> Result<PortId, String> {
    let mut ports = PortId::each(&*snapshot.ports);
    let port = ports.find(|(_, port)| *port.name == *name);
    port.map(|(id, _)| id).ok_or_else(|| {
        let names: Vec<&str> = snapshot.ports.iter().map(|port| &*port.name).collect();
        let said = format!("no port is called `{}`", name.escape_debug());
        match nearest(name, &names) {
            Some(near) => format!("{said}; did you mean `{near}`?\n"),
            None => format!("{said}: see `plimsoll ports`\n"),
        }
    })
}

/// Sends the neighbours that are wanted, in the form of [`crate::report::neighbours::Neighbours`].
async fn send(api: &Api, wanted: Wanted, pieces: &Pieces) -> Result<(), Gone> {
    let (listings, workers) = {
        let running = lock(&api.running);
        (running.list_neighbours(), running.workers().len())
    };
    let incomplete = listings.len() < workers;
    let (known, late) = take(listings, wanted).await;
    let (snapshot, now, unreachable) = {
        let running = lock(&api.running);
        let unreachable = running.unreachable();
        let unreachable = unreachable.filter(|(port, address, _)| wanted.has((*port, *address)));
        let unreachable: Vec<_> = unreachable.collect();
        (Arc::clone(running.snapshot()), running.now(), unreachable)
    };
    let reals = reals(&snapshot, &unreachable).await;
    let named = unreachable.iter().map(|(port, address, known)| {
        let since_s = now.ms_since(known.since) / 1000;
        UnreachableNeighbour {
            port: name(&snapshot, *port),
            address: *address,
            since_s,
            reals: reals.get(address).cloned().unwrap_or_default(),
        }
    });
    list_of(pieces, "{\"unreachable\":[", named).await?;
    let all = merged(&snapshot, known, &unreachable, wanted);
    let shown = all.into_iter().map(|record| shown(&snapshot, &record, now));
    list_of(pieces, "],\"neighbors\":[", shown).await?;
    let incomplete = incomplete || late;
    pieces
        .send(format!("],\"incomplete\":{incomplete}}}"))
        .await
}

/// Sends `before` and the items of a list with commas between them, some at a time.
async fn list_of(
    pieces: &Pieces,
    before: &str,
    items: impl Iterator<Item = impl serde::Serialize>,
) -> Result<(), Gone> {
    let mut piece = before.to_owned();
    let mut comma = "";
    for (number, item) in items.enumerate() {
        if let Ok(text) = serde_json::to_string(&item) {
            piece.push_str(std::mem::replace(&mut comma, ","));
            piece.push_str(&text);
        }
        if number % PIECE == PIECE - 1 {
            pieces.send(std::mem::take(&mut piece)).await?;
        }
    }
    pieces.send(piece).await
}

/// What the workers know, the newest of each neighbour; and whether one of them came to no end in time.
async fn take(
    mut listings: Vec<Arc<NeighbourListing>>,
    wanted: Wanted,
) -> (HashMap<Key, NeighbourRecord>, bool) {
    let mut known: HashMap<Key, NeighbourRecord> = HashMap::new();
    let (mut steps, mut went_on_at) = (0, Instant::now());
    loop {
        let mut left = PIECE;
        listings.retain(|listing| {
            // Asked first: what was put in before it was done is taken below.
            let done = listing.is_done();
            while left > 0 {
                let Some(record) = listing.take() else {
                    return !done;
                };
                left -= 1;
                let key = (record.port, record.address);
                if wanted.has(key) {
                    let newest = known.entry(key).or_insert(record);
                    if record.is_newer_than(newest) {
                        *newest = record;
                    }
                }
            }
            true
        });
        if listings.is_empty() {
            return (known, false);
        }
        let steps_now: u64 = listings.iter().map(|listing| listing.steps()).sum();
        if steps_now != std::mem::replace(&mut steps, steps_now) || left < PIECE {
            went_on_at = Instant::now();
        } else if went_on_at.elapsed() >= PATIENCE {
            return (known, true);
        }
        if left > 0 {
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// The real servers of each address that does not answer.
async fn reals(
    snapshot: &Snapshot,
    unreachable: &[(PortId, IpAddr, Unreachable)],
) -> HashMap<IpAddr, Vec<String>> {
    let addresses = unreachable.iter().map(|(_, address, _)| *address);
    let mut reals: HashMap<IpAddr, Vec<String>> =
        addresses.map(|address| (address, Vec::new())).collect();
    if reals.is_empty() {
        return reals;
    }
    // One look at all of them, however many neighbours there are; in turn with other requests.
    for (count, real) in snapshot.reals.iter().enumerate() {
        if count % YIELD == YIELD - 1 {
            tokio::task::yield_now().await;
        }
        if let Some(names) = reals.get_mut(&real.spec.address)
            && names.len() < MOST_REALS
            && real.configured
            && let Some(service) = snapshot.service(real.service)
        {
            let socket = std::net::SocketAddr::new(real.spec.address, real.spec.port);
            names.push(format!("{}/{socket}", service.name));
        }
    }
    reals
}

/// All neighbours in order. A configured MAC is used whatever workers know; who does not answer has failed, although a
/// worker that asks again forgets that.
fn merged(
    snapshot: &Snapshot,
    known: HashMap<Key, NeighbourRecord>,
    unreachable: &[(PortId, IpAddr, Unreachable)],
    wanted: Wanted,
) -> Vec<NeighbourRecord> {
    let mut all = known;
    for (port, address, seen) in unreachable {
        let failed = NeighbourRecord {
            port: *port,
            address: *address,
            mac: None,
            state: NeighbourState::Failed,
            is_awaited: false,
            news_at: seen.last,
        };
        let record = all.entry((*port, *address)).or_insert(failed);
        if record.mac.is_none() {
            record.state = NeighbourState::Failed;
        }
    }
    let fixed = snapshot.fixed_neighbours();
    for (port, address, mac) in fixed.filter(|(port, address, _)| wanted.has((*port, *address))) {
        let record = NeighbourRecord {
            port,
            address,
            mac: Some(mac),
            state: NeighbourState::Permanent,
            is_awaited: false,
            news_at: Time::default(),
        };
        all.insert((port, address), record);
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_unstable_by_key(|record| (record.port, record.address));
    all
}

fn shown(snapshot: &Snapshot, record: &NeighbourRecord, now: Time) -> Neighbour {
    Neighbour {
        port: name(snapshot, record.port),
        address: record.address,
        mac: record.mac.map(|mac| mac.to_string()),
        state: record.state,
        age_s: (record.state != NeighbourState::Permanent)
            .then(|| now.ms_since(record.news_at) / 1000),
    }
}

fn name(snapshot: &Snapshot, port: PortId) -> String {
    let port = snapshot.port(port);
    port.map_or_else(String::new, |port| port.name.to_string())
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::wire::Mac;

    use super::*;
    use crate::running::tests::running;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const WAN: PortId = PortId::new(0);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn record(last: u8, state: NeighbourState, mac: Option<Mac>) -> NeighbourRecord {
        NeighbourRecord {
            port: WAN,
            address: address(last),
            mac,
            state,
            is_awaited: false,
            news_at: Time::from_ms(1000),
        }
    }

    #[test]
    fn a_configured_mac_counts_most_and_who_does_not_answer_has_failed() {
        let (mut running, file) = running();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let fixed = "network:\n  neighbors: [{ address: 192.0.2.1, mac: \"02:00:00:00:00:01\" }]";
        std::fs::write(file.path(), text.replace("network:", fixed)).unwrap();
        running.reload(false);
        let known = [
            record(1, NeighbourState::Stale, Some(MAC)),
            record(2, NeighbourState::Incomplete, None),
            record(3, NeighbourState::Reachable, Some(MAC)),
        ];
        let known = known.map(|one| ((WAN, one.address), one));
        let since = Time::from_ms(500);
        let silent = Unreachable { since, last: since };
        let unreachable = [2, 3, 4].map(|last| (WAN, address(last), silent));
        let found = |wanted: Wanted| -> Vec<_> {
            let unreachable = unreachable.into_iter();
            let unreachable =
                unreachable.filter(|(port, address, _)| wanted.has((*port, *address)));
            let unreachable: Vec<_> = unreachable.collect();
            let known = known.into_iter().filter(|(key, _)| wanted.has(*key));
            let all = merged(running.snapshot(), known.collect(), &unreachable, wanted);
            let shown = all.iter().map(|one| (one.address, one.state, one.mac));
            shown.collect()
        };
        let mut wanted = Wanted {
            port: None,
            address: None,
        };
        let expected = [
            (
                address(1),
                NeighbourState::Permanent,
                Some(Mac([2, 0, 0, 0, 0, 1])),
            ),
            (address(2), NeighbourState::Failed, None),
            // It has answered since.
            (address(3), NeighbourState::Reachable, Some(MAC)),
            (address(4), NeighbourState::Failed, None),
        ];
        assert_eq!(found(wanted), expected);
        wanted.address = Some(address(3));
        assert_eq!(found(wanted), expected[2..3]);
        wanted.port = Some(PortId::new(1));
        assert_eq!(found(wanted), []);
    }
}
