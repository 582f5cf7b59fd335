//! Requests to the API, on the control socket and on HTTP.
//! There are no workers, so nothing waits for one.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ahash::RandomState;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use plimsoll_control::api::Api;
use plimsoll_control::metrics::Metrics;
use plimsoll_control::running::{Parts, Running};
use plimsoll_control::runtime::{Keeper, RuntimeChanges};
use plimsoll_control::{compile, config};
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::wire::Mac;
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::script::Script;

const CONFIG: &str = "version: 1
dataplane: { ports: [{ name: wan, device: net_null0, addresses: [10.0.0.1/24] }] }
services:
  - { name: web, vip: \"10.0.0.100:80\", protocol: tcp, reals: [{ address: \"10.0.0.11:80\", forward: dr }] }
";

/// A server without a socket.
struct Server {
    runtime: Runtime,
    routers: [Router; 2],
    _file: NamedTempFile,
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

impl Server {
    fn new() -> Self {
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), CONFIG).expect("a configuration");
        let loaded = config::load(file.path()).expect("it is valid");
        let (device_specs, ports) =
            compile::ports(loaded.valid.start(), &[Mac([2, 0, 0, 0, 0, 1])]);
        let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
        let spec = compile::spec(&device_specs, &ports, loaded.valid.reload());
        let snapshot = builder.build(&spec, true);
        let running = Running::new(Parts {
            file: file.path().to_owned(),
            loaded,
            ports,
            device_specs,
            devices: Vec::new(),
            builder,
            publisher: Publisher::new(snapshot),
            workers: Vec::new(),
            start: Instant::now(),
            lost_log_lines: Arc::default(),
            runtime: RuntimeChanges::default(),
            keeper: Keeper::default(),
        });
        let shared = Arc::new(Mutex::new(running));
        let metrics = Metrics::new(Arc::clone(&shared)).expect("metrics");
        let (sender, _) = mpsc::unbounded_channel();
        let api = Api::new(shared, metrics, sender);
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            routers: [api.clone().read_only(), api.control()],
            _file: file,
        }
    }
}

const METHODS: [&str; 6] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"];
const PATHS: [&str; 15] = [
    "/",
    "/metrics",
    "/api/v1/status",
    "/api/v1/services",
    "/api/v1/sessions",
    "/api/v1/timeouts",
    "/api/v1/drops",
    "/api/v1/reload",
    // Whatever the rest says.
    "",
    "/api/v1/ports",
    "/api/v1/routes",
    "/api/v1/neighbors",
    "/api/v1/real-setup",
    "/api/v1/reals",
    "/api/v1/plan",
];

/// Asks what the bytes say: a router, a method, a path, and up to the next line's end what is behind it; the
/// rest is the body. An answer is given in any case.
pub fn api(data: &[u8]) {
    let mut script = Script::new(data);
    let (router, method, path) = (script.below(2), script.below(6), script.below(PATHS.len()));
    let rest = script.take(data.len());
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (query, body) = rest.split_at(end.unwrap_or(rest.len()));
    let path = PATHS[path];
    let target = [path.as_bytes(), query].concat();
    let request = Request::builder()
        .method(METHODS[method])
        .uri(&target[..])
        .header("content-type", "application/json");
    let Ok(request) = request.body(Body::from(body.to_vec())) else {
        return;
    };
    SERVER.with_borrow_mut(|server| {
        let server = server.get_or_insert_with(Server::new);
        let router = server.routers[router].clone();
        let (status, text) = server.runtime.block_on(async {
            let Ok(answer) = router.oneshot(request).await;
            let status = answer.status();
            (status, answer.into_body().collect().await)
        });
        assert!(!status.is_server_error(), "{status}");
        assert!(text.is_ok());
    });
}
