//! Who may ask what. What the responses say is tested where it is made.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::incident::Incident;
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::worker::Command;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::*;
use crate::metrics::Metrics;
use crate::real_setup::RealSetup;
use crate::report::neighbours::{Neighbours, State};
use crate::report::status::Status;
use crate::running::Shared;
use crate::running::tests::running;

async fn ask(router: Router, method: &str, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path);
    let response = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn everybody_may_ask_and_only_the_control_socket_may_change() {
    let (running, _file) = running();
    let shared = Arc::new(Mutex::new(running));
    let metrics = Metrics::new(Arc::clone(&shared)).unwrap();
    let (sender, mut reloads) = mpsc::unbounded_channel();
    let api = Api::new(Arc::clone(&shared), metrics, sender);
    let (public, control) = (api.clone().read_only(), api.control());
    for path in [
        "/",
        "/metrics",
        "/api/v1/status",
        "/api/v1/ports",
        "/api/v1/routes",
        "/api/v1/real-setup?service=web",
        "/api/v1/services",
        "/api/v1/timeouts",
        "/api/v1/drops?all=true",
    ] {
        for router in [&public, &control] {
            let (status, body) = ask(router.clone(), "GET", path).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(!body.is_empty(), "{path}");
        }
    }
    assert_eq!(ask(public, "POST", RELOAD).await.0, StatusCode::FORBIDDEN);
    assert!(reloads.try_recv().is_err());
    assert_eq!(
        ask(control.clone(), "GET", RELOAD).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let (status, body) = ask(control, "POST", RELOAD).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(reloads.try_recv().unwrap().result, ReloadResult::Unchanged);
}

#[tokio::test]
async fn sessions_name_clients_and_are_shown_on_the_control_socket_only() {
    let (running, _file) = running();
    let shared = Arc::new(Mutex::new(running));
    let api = api(&shared);
    for path in [SESSIONS, NEIGHBOURS] {
        let (status, said) = ask(api.clone().read_only(), "GET", path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(said.contains("plimsoll list --sessions"), "{said}");
    }
}

fn api(shared: &Shared) -> Api {
    let metrics = Metrics::new(Arc::clone(shared)).unwrap();
    Api::new(Arc::clone(shared), metrics, mpsc::unbounded_channel().0)
}

// Time jumps to whatever is waited for.
#[tokio::test(start_paused = true)]
async fn one_listing_of_sessions_at_a_time_and_none_waits_for_ever() {
    let (running, _file) = running();
    let shared = Arc::new(Mutex::new(running));
    let control = api(&shared).control();
    let request = || Request::get(SESSIONS).body(Body::empty()).unwrap();
    // The worker of this test never answers.
    let first = control.clone().oneshot(request()).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let (status, said) = ask(control.clone(), "GET", SESSIONS).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{said}");
    let body = first.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        &*body,
        br#"{"sessions":[    ],"truncated":false,"incomplete":true}"#
    );
    // A client that has gone makes room.
    drop(control.clone().oneshot(request()).await.unwrap());
    let (status, _) = ask(control, "GET", SESSIONS).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_waited_for_as_long_as_its_worker_goes_on() {
    let (running, _file) = running();
    let commands = Arc::clone(&running.workers()[0].commands);
    let control = api(&Arc::new(Mutex::new(running))).control();
    let begin = tokio::time::Instant::now();
    // A worker in the midst of a flood: steps through an empty part of a table, and then none.
    let worker = tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            if let Some(Command::List(listing)) = commands.pop() {
                for _ in 0..20 {
                    listing.step();
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                return;
            }
        }
    });
    let request = Request::get(SESSIONS).body(Body::empty()).unwrap();
    let response = control.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (mut body, mut text) = (response.into_body(), String::new());
    // Meanwhile there is a sign for whoever waits.
    let patience = std::time::Duration::from_secs(2);
    while let Some(frame) = tokio::time::timeout(patience, body.frame()).await.unwrap() {
        text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    let list: crate::report::Sessions = serde_json::from_str(&text).unwrap();
    assert_eq!(list.sessions, []);
    assert!(list.incomplete && !list.truncated);
    assert!(worker.is_finished());
    let seconds = begin.elapsed().as_secs();
    assert!((25..30).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn the_real_servers_of_one_service_are_listed_in_order_in_pieces_that_are_small() {
    let (mut running, file) = running();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let address = |number: usize| format!("192.1.{}.{}:80", number / 250, number % 250);
    let reals: Vec<String> = (0..3000)
        .map(|number| format!("{{ address: \"{}\" }}", address(number)))
        .collect();
    let text = text.replace("{ address: \"192.0.2.21:80\" }", &reals.join(", "));
    std::fs::write(file.path(), text).unwrap();
    let reloaded = running.reload(false);
    assert_eq!(reloaded.result, ReloadResult::Applied, "{reloaded:?}");
    let expected = crate::report::services(running.snapshot(), Some(running.live()));
    let control = api(&Arc::new(Mutex::new(running))).control();
    let request = Request::get("/api/v1/services").body(Body::empty());
    let mut body = control.oneshot(request.unwrap()).await.unwrap().into_body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() < 256 << 10, "{}", piece.len());
        whole.extend(piece);
    }
    let list: crate::report::Services = serde_json::from_slice(&whole).unwrap();
    assert_eq!(list.services, expected);
    let reals = list.services[0].reals.iter().filter(|real| !real.removed);
    let listed = reals.map(|real| real.address.to_string());
    assert!(listed.eq((0..3000).map(address)));
}

#[tokio::test]
async fn many_services_are_listed_in_order_in_pieces_that_are_small() {
    let (mut running, file) = running();
    let mut text = std::fs::read_to_string(file.path()).unwrap();
    for number in 0..2000 {
        let (high, low) = (number / 250, number % 250);
        text.push_str(&format!(
            "  - {{ name: s{number}, vip: \"198.51.{high}.{low}:80\", reals: [{{ address: 192.0.2.21 }}] }}\n"
        ));
    }
    std::fs::write(file.path(), text).unwrap();
    assert_eq!(running.reload(false).result, ReloadResult::Applied);
    let shared = Arc::new(Mutex::new(running));
    let control = api(&shared).control();
    let request = Request::get("/api/v1/services").body(Body::empty());
    let mut body = control.oneshot(request.unwrap()).await.unwrap().into_body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() < 256 << 10, "{}", piece.len());
        whole.extend(piece);
    }
    let list: crate::report::Services = serde_json::from_slice(&whole).unwrap();
    let names = list.services.iter().map(|service| service.name.as_str());
    let expected = (0..2000).map(|number| format!("s{number}"));
    let expected: Vec<_> = std::iter::once("web".to_owned()).chain(expected).collect();
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_removed_real_server_is_shown_until_its_last_session_ends() {
    let (mut running, file) = running();
    let old = running.snapshot().reals.iter().next().unwrap().id;
    let counters = Arc::clone(running.snapshot());
    let counters = counters.workers[0].reals.get(old.0).unwrap();
    counters.enter(true);
    let text = std::fs::read_to_string(file.path()).unwrap();
    for (from, to, is_service) in [
        ("192.0.2.21:80", "192.0.2.22:80", false),
        ("192.0.2.10:80", "192.0.2.11:80", true),
    ] {
        std::fs::write(file.path(), text.replace(from, to)).unwrap();
        assert_eq!(running.reload(false).result, ReloadResult::Applied);
        let shared = Arc::new(Mutex::new(running));
        let api = api(&shared);
        let list = ask(api.clone().read_only(), "GET", "/api/v1/services")
            .await
            .1;
        let list: crate::report::Services = serde_json::from_str(&list).unwrap();
        let services = list.services.iter().filter(|one| one.removed == is_service);
        let mut removed = services
            .flat_map(|one| &one.reals)
            .filter(|one| one.removed);
        let real = removed.next().unwrap();
        assert_eq!(real.address, "192.0.2.21:80".parse().unwrap());
        assert_eq!((real.active, real.weight), (1, 0));
        assert_eq!(removed.next(), None);
        let page = ask(api.read_only(), "GET", "/metrics").await.1;
        let line = "plimsoll_real_sessions{service=\"web\",real=\"192.0.2.21:80\",state=\"active\",removed=\"true\",vip=\"192.0.2.10:80\",protocol=\"tcp\"} 1\n";
        assert!(page.contains(line), "{page}");
        running = Arc::into_inner(shared).unwrap().into_inner().unwrap();
    }
    counters.leave(true);
    let list = crate::report::services(running.snapshot(), None);
    let all = list.iter().flat_map(|one| &one.reals);
    assert!(list.iter().all(|one| !one.removed) && all.clone().all(|one| !one.removed));
}

#[tokio::test]
async fn sessions_of_one_real_server_under_several_former_addresses_are_series_of_their_own() {
    let (mut running, file) = running();
    let mut text = std::fs::read_to_string(file.path()).unwrap();
    for (from, to) in [
        (".10:80", ".11:80"),
        (".11:80", ".12:80"),
        (".12:80", ".10:80"),
        (".10:80", ".13:80"),
        ("192.0.2.21:80", "192.0.2.22:80"),
    ] {
        for real in running.snapshot().reals.iter() {
            let counters = running.snapshot().workers[0].reals.get(real.id.0).unwrap();
            counters.enter(true);
        }
        text = text.replace(from, to);
        std::fs::write(file.path(), &text).unwrap();
        assert_eq!(running.reload(false).result, ReloadResult::Applied);
    }
    let api = api(&Arc::new(Mutex::new(running)));
    let page = ask(api.read_only(), "GET", "/metrics").await.1;
    let series = page.lines().filter_map(|line| line.rsplit_once(' '));
    let mut series: Vec<_> = series.map(|(series, _)| series).collect();
    let removed = |series: &&&str| series.contains("removed=");
    assert!(series.iter().filter(removed).count() >= 6, "{page}");
    series.retain(|series| !series.starts_with('#'));
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all, "{page}");
}

// Its worker never answers, which is not waited for: time jumps.
#[tokio::test(start_paused = true)]
async fn neighbours_that_do_not_answer_are_listed_with_their_real_servers() {
    let (mut running, _file) = running();
    let (port, address) = (PortId::new(0), IpAddr::from([192, 0, 2, 21]));
    let lost = Incident::NeighbourUnreachable { port, address };
    running.workers()[0].stats.tell(lost);
    assert_eq!(running.look_at_incidents().len(), 1);
    let shared = Arc::new(Mutex::new(running));
    let api = api(&shared);
    let list = ask(api.clone().control(), "GET", NEIGHBOURS).await.1;
    let list: Neighbours = serde_json::from_str(&list).unwrap();
    let [one] = &list.unreachable[..] else {
        panic!("{list:?}")
    };
    assert_eq!((one.port.as_str(), one.address), ("wan", address));
    assert_eq!(one.reals, ["web/192.0.2.21:80"]);
    assert!(list.incomplete);
    let [one] = &list.neighbors[..] else {
        panic!("{list:?}")
    };
    assert_eq!(
        (one.address, one.state, &one.mac),
        (address, State::Failed, &None)
    );
    let page = ask(api.read_only(), "GET", "/metrics").await.1;
    assert!(
        page.contains("plimsoll_neighbours_unreachable 1\n"),
        "{page}"
    );
}

#[tokio::test]
async fn bad_requests_are_answered_in_words() {
    let (running, _file) = running();
    let control = api(&Arc::new(Mutex::new(running))).control();
    for (path, status, words) in [
        ("/api/v1/neighbors?port=wam", 404, "did you mean `wan`?"),
        ("/api/v1/neighbors?port=%00", 404, "see `plimsoll ports`"),
        ("/api/v1/neighbors?address=10.0.0.300", 400, "address"),
        ("/api/v1/real-setup", 400, "service"),
        ("/api/v1/real-setup?service=wbe", 404, "did you mean `web`?"),
        ("/api/v1/real-setup?service=zzzzzz", 404, "plimsoll list"),
        ("/api/v1/real-setup?service=web&os=plan9", 400, "plan9"),
    ] {
        let (found, said) = ask(control.clone(), "GET", path).await;
        assert_eq!(found, status, "{path}: {said}");
        assert!(said.contains(words), "{path}: {said}");
    }
    let path = "/api/v1/real-setup?service=web&os=networkd";
    let (_, text) = ask(control, "GET", path).await;
    let setup: RealSetup = serde_json::from_str(&text).unwrap();
    assert_eq!(setup.service, "web");
    assert!(setup.text().contains("networkctl reload"), "{text}");
}

#[tokio::test]
async fn the_status_counts_what_is_configured_and_quotes_the_file_on_the_control_socket_only() {
    let (mut running, file) = running();
    let stats = Arc::clone(&running.workers()[0].stats);
    let verdict = plimsoll_dataplane::verdict::Verdict::Dropped;
    stats.count(verdict(DropReason::NoService), 3);
    stats.count(verdict(DropReason::NoSession), 2);
    stats.busy_ns.add(25);
    stats.idle_ns.add(75);
    std::fs::write(file.path(), "version: 1\nservises: []\n").unwrap();
    assert_eq!(running.reload(false).result, ReloadResult::Invalid);
    let api = api(&Arc::new(Mutex::new(running)));
    let (_, text) = ask(api.clone().control(), "GET", STATUS).await;
    let status: Status = serde_json::from_str(&text).unwrap();
    assert_eq!((status.services, status.reals), (1, 1));
    assert_eq!((status.drops.total, status.drops.recent), (5, 5));
    assert_eq!(status.drops.top.unwrap().reason, "no_service");
    assert_eq!(status.workers[0].busy_ratio, Some(0.25));
    assert_eq!((status.sessions.used, status.sessions.capacity), (0, 100));
    let last = status.last_reload.unwrap();
    assert_eq!(last.result, ReloadResult::Invalid);
    assert!(last.why.is_some(), "{text}");
    let (_, text) = ask(api.read_only(), "GET", STATUS).await;
    let status: Status = serde_json::from_str(&text).unwrap();
    assert_eq!(status.last_reload.unwrap().why, None);
}
