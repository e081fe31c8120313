//! Where a callback goes, and for which app: the unit of scheduling, limits, fairness and pauses.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::domain::Timestamp;

/// Scheme, host and port of a callback URL, as the column `origin` has them.
///
/// Bytes, because a database may hold text that is not UTF-8, and such a row must be found too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<[u8]>);

impl Origin {
    /// Takes the column's text.
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        Self(text.as_ref().into())
    }

    /// The origin of a URL, as the trigger in `schema.sql` makes it; of an origin, that itself.
    /// `None` if there is no scheme, or no host after it.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let authority = rest
            .split(['/', '?', '#', '\\'])
            .next()?
            .to_ascii_lowercase();
        let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
        (!authority.is_empty()).then(|| Self::new(format!("{scheme}://{authority}")))
    }

    /// The column's bytes, unchanged.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same for people.
    pub fn as_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_text())
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.as_text())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({:?})", self.as_text())
    }
}

/// The column `app_id`: bytes, for the same reason as [`Origin`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<[u8]>);

impl AppId {
    /// Takes the column's text.
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        Self(text.as_ref().into())
    }

    /// The column's bytes, unchanged.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same for people.
    pub fn as_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_text())
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppId({:?})", self.as_text())
    }
}

/// An app's use of an origin. Ordered as the due index is: by app, then by origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Whose callbacks.
    pub app_id: AppId,
    /// Where they go.
    pub origin: Origin,
}

impl Endpoint {
    /// The endpoint with these two columns.
    pub fn new(app_id: impl AsRef<[u8]>, origin: impl AsRef<[u8]>) -> Self {
        Self {
            app_id: AppId::new(app_id),
            origin: Origin::new(origin),
        }
    }
}

/// When an endpoint's earliest claimable callback is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointDue {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// When its earliest callback is due.
    pub due: Timestamp,
}
