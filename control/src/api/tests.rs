//! Who may ask what. What the answers say is tested where it is made.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
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
