//! What an action would be about, by app and endpoint, before the button is pressed.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::admin::console::show;
use crate::admin::console::text::{Untrusted, count as callbacks, number};
use crate::store::{
    Action, CallbackRow, Filter, Inspection, Selectors, ShownState, StoreError, StoredState,
};

/// As many are counted; more are told as such.
const COUNTED_MAX: usize = 10_000;

/// Endpoints in the table.
const ENDPOINTS_MAX: usize = 50;

/// Counts what is selected now, as far as [`COUNTED_MAX`].
pub(super) async fn count(
    inspection: &dyn Inspection,
    selectors: &Selectors,
    action: Action,
) -> Result<Markup, StoreError> {
    let is_one = selectors.callback_id.is_some()
        || selectors.order_number.is_some()
        || selectors.command_id.is_some();
    if is_one {
        return Ok(html! {});
    }
    let state = match (action, selectors.state) {
        (_, Some(StoredState::Pending)) | (Action::Pause | Action::Resume, _) => {
            Some(ShownState::Pending)
        }
        (_, Some(StoredState::Delivered)) => Some(ShownState::Delivered),
        (_, Some(StoredState::Exhausted)) => Some(ShownState::Exhausted),
        (_, Some(StoredState::Cancelled)) => Some(ShownState::Cancelled),
        (_, None) => None,
    };
    let list = inspection.list(Filter {
        state,
        app_id: selectors.app_id.clone(),
        origin: selectors.origin.clone(),
        since: selectors.since,
        until: selectors.until,
        limit: COUNTED_MAX,
        ..Filter::default()
    });
    let list = list.await?;
    let mut endpoints: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for listed in &list.rows {
        let CallbackRow { app_id, origin, .. } = &listed.callback;
        *endpoints.entry((app_id, origin.to_string())).or_default() += 1;
    }
    let all = callbacks(list.rows.len() as u64, "callback", "callbacks");
    let rows = html! {
        @for ((app, origin), callbacks) in endpoints.iter().take(ENDPOINTS_MAX) {
            tr {
                th scope="row" { (Untrusted(app)) }
                td { (Untrusted(origin)) }
                td .number { (number(*callbacks)) }
            }
        }
    };
    let more = if list.next.is_some() { "at least " } else { "" };
    let caption = format!("By app and endpoint: {more}{all}");
    Ok(html! {
        p role="status" {
            "As of now this is about " strong { (more) (all) }
            @if endpoints.len() > ENDPOINTS_MAX { "; the first " (ENDPOINTS_MAX) " endpoints are shown" }
            "."
        }
        @if !endpoints.is_empty() {
            (show::table(&caption, &["App", "Goes to", "#Callbacks"], &rows))
        }
    })
}
