//! A POST as the merchant got it.

use hyper::body::Bytes;
use hyper::http::request::Parts;

use crate::domain::{Convention, FlatObject, KeyEntry, Keyring, Timestamp};

/// The largest body that is taken; a larger one is answered 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A POST as the merchant got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When its head had arrived.
    pub arrived_at: Timestamp,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order received; a value that is not UTF-8 has U+FFFD in it.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The body's members, if it is a flat object.
    pub object: Option<FlatObject>,
    /// Whether its `sign` is that of any key of its app; `None`: the app has no key here.
    pub sign_holds: Option<bool>,
}

impl Received {
    /// Reads what was received.
    pub(super) fn read(
        arrived_at: Timestamp,
        head: &Parts,
        body: &Bytes,
        keyring: &Keyring,
        convention: &Convention,
    ) -> Self {
        let object = FlatObject::parse(body).ok();
        let sign_holds = object
            .as_ref()
            .and_then(|object| sign_holds(object, keyring, convention));
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        Self {
            arrived_at,
            path: head.uri.to_string(),
            headers: headers.collect(),
            body: body.to_vec(),
            object,
            sign_holds,
        }
    }

    /// A member of the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.object.as_ref()?.text(name)
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find_map(|(found, value)| (found == name).then_some(value.as_str()))
    }

    /// What `--fail-first` counts by: the refund, else the payment that this is about. POSTs
    /// that say neither count as one order.
    pub(super) fn order(&self) -> Order {
        let refund = self.text("newpayRefundOrderNo");
        let number = refund.or_else(|| self.text("newpayOrderNo"));
        Order {
            is_refund: refund.is_some(),
            number: number.unwrap_or_default().to_owned(),
        }
    }
}

/// What a callback is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Order {
    is_refund: bool,
    number: String,
}

fn sign_holds(object: &FlatObject, keyring: &Keyring, convention: &Convention) -> Option<bool> {
    let keys = keyring.keys(object.text("appId")?);
    if keys.is_empty() {
        return None;
    }
    let Some(sign) = object.sign() else {
        return Some(false);
    };
    let canonical_form = object.canonical_form(convention);
    let holds = |key: &KeyEntry| key.key.verifies(convention, &canonical_form, sign);
    Some(keys.iter().any(holds))
}
