//! The syntax of `log.level`.
//!
//! `info`, or a list such as `info,callback_dispatcher::attempt=warn,hyper=debug`. A bare level is
//! for this program; its libraries are held to warnings then, unless they are named. So a bare
//! `debug` or `trace` neither drowns the operator nor shows what a library thinks worth tracing
//! of a request.
//!
//! Stricter than `tracing_subscriber`'s own syntax, which takes a misspelt level for the name of
//! a target and thereby switches nearly everything off.

use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// The targets of this program begin so.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "log level {found:?} in {text:?} is unknown; use off, error, warn, info, debug or trace, \
     with exceptions after it as in \"info,callback_dispatcher::attempt=warn\""
)]
pub struct InvalidLevel {
    /// The part at fault.
    found: String,
    /// The whole text.
    text: String,
}

/// Reads `text`.
pub(super) fn targets(text: &str) -> Result<Targets, InvalidLevel> {
    let mut targets = Targets::new().with_default(LevelFilter::WARN);
    for part in text.split(',').map(str::trim) {
        let invalid = || InvalidLevel {
            found: part.to_owned(),
            text: text.to_owned(),
        };
        targets = match part.split_once('=') {
            None => {
                let level = level(part).ok_or_else(invalid)?;
                targets
                    .with_default(level.min(LevelFilter::WARN))
                    .with_target(OWN_TARGET, level)
            }
            Some((target, word)) => {
                let target = target.trim();
                let level = level(word.trim()).filter(|_| !target.is_empty());
                targets.with_target(target, level.ok_or_else(invalid)?)
            }
        };
    }
    Ok(targets)
}

/// A level by its word.
fn level(word: &str) -> Option<LevelFilter> {
    let is_word = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    word.parse()
        .ok()
        .filter(|_: &LevelFilter| is_word && !word.is_empty())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_bare_level_is_for_this_program() {
        let targets = targets("debug").expect("a level");
        assert!(targets.would_enable("callback_dispatcher::delivery", &Level::DEBUG));
        assert!(!targets.would_enable("callback_dispatcher", &Level::TRACE));
        assert!(targets.would_enable("hyper::proto", &Level::WARN));
        assert!(!targets.would_enable("hyper::proto", &Level::INFO));
    }

    #[test]
    fn quieter_levels_are_for_all() {
        let error_only = targets("ERROR").expect("a level");
        assert!(!error_only.would_enable("hyper", &Level::WARN));
        assert!(!error_only.would_enable("callback_dispatcher", &Level::WARN));
        let off = targets("off").expect("a level");
        assert!(!off.would_enable("callback_dispatcher", &Level::ERROR));
    }

    #[test]
    fn targets_may_differ() {
        let targets =
            targets("info, callback_dispatcher::attempt=warn,hyper = trace").expect("levels");
        assert!(!targets.would_enable("callback_dispatcher::attempt", &Level::INFO));
        assert!(targets.would_enable("callback_dispatcher::attempt", &Level::WARN));
        assert!(targets.would_enable("callback_dispatcher::store", &Level::INFO));
        assert!(targets.would_enable("hyper::proto", &Level::TRACE));
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for text in [
            "",
            "warning",
            "3",
            "info,",
            "hyper=loud",
            "=info",
            "a=b=info",
        ] {
            let error = targets(text).expect_err(text).to_string();
            assert!(error.contains("use off, error, warn"), "{error}");
        }
    }
}
