//! Which callbacks to list, page by page.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{CallbackRow, ShownState};
use crate::domain::{CallbackId, InvalidValue, Timestamp};

/// Which callbacks to list; what is given must all hold.
///
/// The order is that of the index that finds them: what is pending by app, origin and due time; what is
/// in flight by the end of its lease; finished callbacks, and those of all states, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state.
    pub state: Option<ShownState>,
    /// Of this app.
    pub app_id: Option<String>,
    /// That go to this origin, or to the origin of this URL.
    pub origin: Option<String>,
    /// Queued at this moment or later.
    pub since: Option<Timestamp>,
    /// Queued before this moment.
    pub until: Option<Timestamp>,
    /// Whose newest attempt ended so.
    pub outcome: Option<String>,
    /// Whose newest attempt was answered with this HTTP status.
    pub http_status: Option<u16>,
    /// Whose newest attempt has this text in its detail, in upper or lower case.
    pub detail: Option<String>,
    /// After the page that ended here.
    pub after: Option<Cursor>,
    /// At most this many.
    pub limit: usize,
}

/// Where a page has ended: the last row's place in the index that the list goes along.
///
/// A place, not an offset: rows that leave the list meanwhile make no other be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) key: i64,
    pub(super) id: CallbackId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, self.id.0)
    }
}

impl FromStr for Cursor {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (key, id) = text.split_once('.')?;
            Some(Self {
                key: key.parse().ok()?,
                id: CallbackId(id.parse().ok()?),
            })
        };
        read()
            .ok_or_else(|| InvalidValue::new("after", text, "what the page before says at its end"))
    }
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The callbacks.
    pub rows: Vec<ListedCallback>,
    /// Where to go on; `None`: there are no more. A page that is not full has looked at as many callbacks
    /// as one request may.
    pub next: Option<Cursor>,
}

impl From<CallbackRow> for ListedCallback {
    /// Without its newest attempt.
    fn from(callback: CallbackRow) -> Self {
        Self {
            callback,
            last_http_status: None,
            last_detail: None,
            last_remote_addr: None,
        }
    }
}

/// A callback with what its newest attempt came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedCallback {
    /// The callback.
    #[serde(flatten)]
    pub callback: CallbackRow,
    /// The HTTP status that the newest attempt was answered with.
    pub last_http_status: Option<i64>,
    /// How the newest attempt went, in words.
    pub last_detail: Option<String>,
    /// The address that the newest attempt went to.
    pub last_remote_addr: Option<String>,
}
