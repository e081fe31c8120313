//! Finds a callback by whatever number somebody has.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::page::{ErrorPage, Page, SEARCH_CHARACTERS_MAX, Section, see_other};
use super::paths::PATH;
use super::show;
use super::state::{Console, RequestContext};
use super::text::{Untrusted, count};
use crate::store::ListedCallback;

/// What is looked for.
#[derive(Debug, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
}

/// One hit is shown at once, more are listed.
pub(super) async fn show(
    State(console): State<Console>,
    Extension(context): Extension<RequestContext>,
    Query(search): Query<Search>,
) -> Result<Response, Response> {
    let wanted = search.q.trim();
    if wanted.is_empty() || wanted.chars().count() > SEARCH_CHARACTERS_MAX {
        let words = "Give an order number, a refund number or a callback's id.";
        return Err(ErrorPage::Nonsense(words.to_owned()).answer(&context));
    }
    let found = console.inspection.find(wanted).await;
    let found = found.map_err(|error| ErrorPage::from(error).answer(&context))?;
    if let [only] = found.as_slice() {
        return Ok(see_other(&format!("{PATH}/callbacks/{}", only.id)));
    }
    let is_exact = !found.is_empty();
    let found = match is_exact {
        true => found,
        false => {
            let near = console.inspection.beginning(wanted).await;
            near.map_err(|error| ErrorPage::from(error).answer(&context))?
        }
    };
    let caption = format!(
        "{} with {} this number",
        count(found.len() as u64, "callback", "callbacks"),
        if is_exact {
            ""
        } else {
            "a number that begins with"
        }
    );
    let page = Page {
        section: Section::Elsewhere,
        title: "Search",
        searched: wanted,
        body: html! {
            @if !is_exact {
                p .notice role="status" {
                    "No callback has the number " strong { (Untrusted(wanted)) }
                    ". It was never queued, or it was removed after its retention."
                }
            }
            @if !found.is_empty() {
                @let found: Vec<_> = found.into_iter().map(ListedCallback::from).collect();
                (show::callback_table(&caption, &found, context.now, |_| None))
            }
        },
    };
    Ok(page.ok(&context))
}
