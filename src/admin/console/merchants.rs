//! Merchants by health: those that are not told what they are owed come first.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::health::Merchant;
use super::page::{ErrorPage, Page, Section};
use super::state::{Console, RequestContext};
use super::text::{Moment, Untrusted, duration, number};
use super::{paths, show};
use crate::domain::Timestamp;
use crate::health::TroubleKind;
use crate::store::LoweredLimit;

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
            @if !walk.lowered.is_empty() { (lowered_limits(&walk.lowered, context.now)) }
        },
    };
    Ok(page.ok(&context))
}

fn table(merchants: &[Merchant], now: Timestamp) -> Markup {
    let caption = "By app: what waits now, and what ended in the last 24 hours";
    let headings = [
        "App",
        "Health",
        "#Pending",
        "#Retrying",
        "#Delivered",
        "#Exhausted",
        "#Delivered of all",
        "#Mean lag",
        "Last delivered",
        "Waiting longest",
        "Action",
    ];
    let rows = html! { @for merchant in merchants { (row(merchant, now)) } };
    show::table(caption, &headings, &rows)
}

/// The origins that the dispatcher spares.
fn lowered_limits(lowered: &[LoweredLimit], now: Timestamp) -> Markup {
    let caption = "Origins that get fewer callbacks at a time than before; the limit grows again as they answer";
    let rows = html! {
        @for limit in lowered {
            tr {
                th scope="row" { (Untrusted(&limit.origin.as_text())) }
                td .number { (number(limit.at_most)) }
                td .nowrap { (show::away(limit.fell_at, now)) }
                td { (limit.reason) }
            }
        }
    };
    show::table(caption, &["Origin", "#At a time", "Fell", "Because"], &rows)
}

fn row(of: &Merchant, now: Timestamp) -> Markup {
    let merchant = &of.row;
    let app = merchant.app_id.as_str();
    let shown = |count: i64| number(count.max(0).unsigned_abs());
    let ago = |moment: &Option<String>| {
        let moment = moment.as_deref().and_then(Timestamp::parse)?;
        Some(show::away(moment, now))
    };
    html! {
        tr {
            th scope="row" { (Untrusted(app)) }
            td { (health(of)) }
            td .number { a href=(paths::callbacks("pending", app)) { (shown(merchant.pending)) } }
            td .number { (shown(merchant.retrying)) }
            td .number { (shown(merchant.delivered_24h)) }
            td .number { a href=(paths::callbacks("exhausted", app)) { (shown(merchant.exhausted_24h)) } }
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
            td { a href=(paths::act("pause", &[("app", app)])) { "Pause…" span .hidden { " app " (Untrusted(app)) } } }
        }
    }
}

/// The same in a word.
fn health(merchant: &Merchant) -> Markup {
    let (class, word) = match merchant.trouble {
        Some(TroubleKind::Unsignable) => ("bad", "can't be signed"),
        Some(TroubleKind::Exhausted) => ("bad", "not told"),
        Some(TroubleKind::NotCharged) => ("bad", "our own fault"),
        Some(TroubleKind::Stuck) => ("bad", "stuck"),
        Some(TroubleKind::Late) => ("wait", "late"),
        Some(TroubleKind::Paused) => ("wait", "paused"),
        _ if merchant.row.retrying > 0 => ("wait", "retrying"),
        _ => ("good", "well"),
    };
    html! { span class={ "badge " (class) } { (word) } }
}
