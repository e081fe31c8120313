//! What each path answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;

use super::{Beat, History};
use crate::clock::SharedClock;
use crate::health::{Trouble, TroubleKind};
use crate::store::StoreError;
use crate::telemetry::{
    Metrics, OPENMETRICS_CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE, prometheus_text,
};

/// How long the store may take to show that it is writable.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Says why nothing can be signed; `Ok`: keys are loaded. Must be quick.
pub type KeysCheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Shows whether the store takes a commit.
pub type StoreProbe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

/// What the answers are made from.
#[derive(Clone)]
pub struct AdminState {
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// When it is asked.
    pub clock: SharedClock,
    /// Asked by `/readyz`.
    pub store: StoreProbe,
    /// What `/healthz` goes by.
    pub beat: Arc<Beat>,
    /// Asked by `/readyz`.
    pub keys: KeysCheck,
    /// Knows of a queue that is not the one that the settings name.
    pub history: Arc<History>,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState")
            .field("beat", &self.beat)
            .finish_non_exhaustive()
    }
}

/// The paths for machines.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn healthz(State(state): State<AdminState>) -> Response {
    let fault = state.beat.fault();
    answer(&Vec::from_iter(fault))
}

async fn readyz(State(state): State<AdminState>) -> Response {
    let mut faults = Vec::new();
    match tokio::time::timeout(PROBE_TIMEOUT, (state.store)()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => faults.push(format!("the store takes no commits: {error}")),
        Err(_) => faults.push(format!(
            "the store did not commit within {} s",
            PROBE_TIMEOUT.as_secs()
        )),
    }
    if let Err(fault) = (state.keys)() {
        faults.push(format!("no keys: {fault}"));
    }
    let troubles = state.history.troubles(&state.beat, state.clock.now());
    let of_queue =
        |trouble: &Trouble| matches!(trouble.kind, TroubleKind::Queue | TroubleKind::Commits);
    let of_queue = troubles.into_iter().filter(of_queue);
    faults.extend(of_queue.map(|trouble| trouble.text));
    answer(&faults)
}

/// OpenMetrics, unless only the older text is asked for.
async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let text = state.metrics.encode(state.clock.now());
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let accepted = accepted.unwrap_or_default();
    if accepted.contains("text/plain") && !accepted.contains("openmetrics") {
        let content_type = [(header::CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE)];
        return (content_type, prometheus_text(&text)).into_response();
    }
    ([(header::CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE)], text).into_response()
}

/// 200 `ok` if there is no fault, else 503 with one line for each.
fn answer(faults: &[String]) -> Response {
    if faults.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let lines: String = faults.iter().map(|fault| one_line(fault)).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

fn one_line(fault: &str) -> String {
    fault.replace(['\r', '\n'], " ") + "\n"
}

/// The answers are about this moment only, and plain text is not to be taken for anything else.
pub(super) async fn forbid_caching(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
