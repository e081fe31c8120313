//! Merchants by health: who is not told what they are owed.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use tokio::sync::Mutex;

use super::page::{ErrorPage, Page, Section};
use super::text::{Moment, Untrusted, duration, number, relative};
use super::{Console, PATH, RequestContext, act};
use crate::clock::Stopwatch;
use crate::domain::Timestamp;
use crate::store::{Inspection, MerchantRow, StoreError};

/// Nobody needs it fresher.
const AGE_MIN: Duration = Duration::from_secs(15);

/// With this much rest after each walk, in multiples of what it took, a page that is reloaded all
/// the time costs a twentieth of a core at most.
const REST: u32 = 20;

/// The newest walk over what was delivered in a day.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Walk>>);

#[derive(Clone, Debug)]
struct Walk {
    merchants: Arc<[MerchantRow]>,
    ended_at: Timestamp,
    ended: Stopwatch,
    took: Duration,
}

impl Health {
    /// The newest walk; makes one if that is old. Who comes meanwhile waits for the same one.
    async fn newest(
        &self,
        inspection: &dyn Inspection,
        now: impl Fn() -> Timestamp,
    ) -> Result<Walk, StoreError> {
        let mut newest = self.0.lock().await;
        if let Some(walk) = &*newest
            && walk.ended.elapsed() < AGE_MIN.max(walk.took * REST)
        {
            return Ok(walk.clone());
        }
        let stopwatch = Stopwatch::start();
        let mut merchants = inspection.merchants().await?;
        merchants.sort_by_key(urgency);
        let walk = Walk {
            merchants: merchants.into(),
            ended_at: now(),
            took: stopwatch.elapsed(),
            ended: Stopwatch::start(),
        };
        *newest = Some(walk.clone());
        Ok(walk)
    }
}

/// Those whose callbacks are given up first, then those that are being tried again.
fn urgency(merchant: &MerchantRow) -> (Reverse<i64>, Reverse<i64>, Reverse<i64>, String) {
    (
        Reverse(merchant.exhausted_24h),
        Reverse(merchant.retrying),
        Reverse(merchant.pending),
        merchant.app_id.clone(),
    )
}

pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
) -> Result<Response, Response> {
    let now = || console.clock.now();
    let walk = console
        .health()
        .newest(&*console.slow_inspection, now)
        .await;
    let walk = walk.map_err(|error| ErrorPage::from(error).answer(&context))?;
    let page = Page {
        section: Section::Merchants,
        title: "Merchants",
        searched: "",
        body: html! {
            p .soft { "As of " (Moment(walk.ended_at)) ". Those that need somebody come first." }
            @if walk.merchants.is_empty() {
                p .notice role="status" { "Nothing is pending, and nothing has ended in the last 24 hours." }
            } @else {
                (table(&walk.merchants, context.now))
            }
        },
    };
    Ok(page.ok(&context))
}

fn table(merchants: &[MerchantRow], now: Timestamp) -> Markup {
    let caption = "By app: what waits now, and what ended in the last 24 hours";
    html! {
        div .wide role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "App" }
                        th scope="col" { "Health" }
                        th scope="col" .number { "Pending" }
                        th scope="col" .number { "Retrying" }
                        th scope="col" .number { "Delivered" }
                        th scope="col" .number { "Exhausted" }
                        th scope="col" .number { "Delivered of all" }
                        th scope="col" .number { "Mean lag" }
                        th scope="col" { "Last delivered" }
                        th scope="col" { "Waiting longest" }
                        th scope="col" { "Action" }
                    }
                }
                tbody {
                    @for merchant in merchants { (row(merchant, now)) }
                }
            }
        }
    }
}

fn row(merchant: &MerchantRow, now: Timestamp) -> Markup {
    let app = merchant.app_id.as_str();
    let shown = |count: i64| number(count.max(0).unsigned_abs());
    let ago = |moment: &Option<String>| {
        let moment = moment.as_deref().and_then(Timestamp::parse)?;
        Some(html! { span title=(moment.to_string()) { (relative(moment, now)) } })
    };
    html! {
        tr {
            th scope="row" { (Untrusted(app)) }
            td { (health(merchant)) }
            td .number { a href=(list("pending", app)) { (shown(merchant.pending)) } }
            td .number { (shown(merchant.retrying)) }
            td .number { (shown(merchant.delivered_24h)) }
            td .number { a href=(list("exhausted", app)) { (shown(merchant.exhausted_24h)) } }
            td .number {
                @if let Some(percent) = merchant.delivered_percent_24h { (format!("{percent:.2}")) " %" }
                @else { "–" }
            }
            td .number {
                @if let Some(seconds) = merchant.mean_lag_seconds_24h {
                    (duration(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
                } @else { "–" }
            }
            td .nowrap { @if let Some(ago) = ago(&merchant.last_delivered_at) { (ago) } @else { "–" } }
            td .nowrap { @if let Some(ago) = ago(&merchant.oldest_pending_created_at) { (ago) } @else { "–" } }
            td { a href=(act::path("pause", &[("app", app)])) { "Pause…" span .hidden { " app " (Untrusted(app)) } } }
        }
    }
}

/// The same in a word.
fn health(merchant: &MerchantRow) -> Markup {
    let (class, word) = if merchant.exhausted_24h > 0 {
        ("bad", "not told")
    } else if merchant.retrying > 0 {
        ("wait", "retrying")
    } else {
        ("good", "well")
    };
    html! { span class={ "badge " (class) } { (word) } }
}

fn list(state: &str, app: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("state", state)
        .append_pair("app", app)
        .finish();
    format!("{PATH}/callbacks?{query}")
}
