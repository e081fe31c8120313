//! The console, as people and browsers meet it.
//!
//! | module | what |
//! |---|---|
//! | [`access`] | who may read and act: over HTTP, with headers that a browser would not send |
//! | [`pages`] | what pages say, also when merchants have written hostile things |
//! | [`incident`] | that all sides tell the same of a bad night |
//! | [`browser`] | headless Chromium through its driver: search, act, keyboard alone, no script, every look |
//! | [`client`], [`driver`], [`showcase`] | what these are done with |

mod access;
mod browser;
mod client;
mod driver;
mod incident;
mod pages;
mod showcase;

use crate::secrets::HMAC;
use crate::support::place::key;

/// What operators show in these tests.
const TOKEN: &str = "a-token-for-the-tests-only-3f9c1e";

/// The key of app 6, and the token.
fn keys() -> String {
    format!("{}[console]\ntoken = \"{TOKEN}\"\n", key("6", HMAC))
}
