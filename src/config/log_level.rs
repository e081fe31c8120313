//! The syntax of `log.level`.
//!
//! `info`, or a list such as `info,callback_dispatcher::attempt=warn,hyper=debug`. A bare level
//! applies to this program; libraries log warnings only, unless the list names them. So a bare
//! `debug` or `trace` neither floods the log nor shows the parts of a request that a library
//! traces.
//!
//! This parser is stricter than `tracing_subscriber`'s own, which takes a misspelt level for the
//! name of a target and thereby switches nearly everything off. It is the only parser of the
//! setting: a level that `check` accepts is one that `run` can use.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::fault::Problem;

/// The prefix of this program's own targets.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");

pub(super) fn parse(text: &str) -> Result<Targets, Problem> {
    let mut targets = Targets::new().with_default(LevelFilter::WARN);
    for part in text.split(',').map(str::trim) {
        let invalid = || {
            Problem::Invalid(format!(
                "{part:?} is not a level; write error, warn, info, debug, trace or off, \
                 or module=level, separated by commas"
            ))
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

/// Numbers, which `LevelFilter` would also accept, are refused.
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
        let targets = parse("debug").expect("a level");
        assert!(targets.would_enable("callback_dispatcher::delivery", &Level::DEBUG));
        assert!(!targets.would_enable("callback_dispatcher", &Level::TRACE));
        assert!(targets.would_enable("hyper::proto", &Level::WARN));
        assert!(!targets.would_enable("hyper::proto", &Level::INFO));
    }

    #[test]
    fn quieter_levels_are_for_all() {
        let error_only = parse("ERROR").expect("a level");
        assert!(!error_only.would_enable("hyper", &Level::WARN));
        assert!(!error_only.would_enable("callback_dispatcher", &Level::WARN));
        let off = parse("off").expect("a level");
        assert!(!off.would_enable("callback_dispatcher", &Level::ERROR));
    }

    #[test]
    fn targets_may_differ() {
        let targets =
            parse("info, callback_dispatcher::attempt=warn,hyper = trace").expect("levels");
        assert!(!targets.would_enable("callback_dispatcher::attempt", &Level::INFO));
        assert!(targets.would_enable("callback_dispatcher::attempt", &Level::WARN));
        assert!(targets.would_enable("callback_dispatcher::store", &Level::INFO));
        assert!(targets.would_enable("hyper::proto", &Level::TRACE));
    }

    #[test]
    fn other_words_and_numbers_are_refused() {
        for text in [
            "",
            "warning",
            "3",
            "info,",
            "hyper=",
            "hyper=loud",
            "=info",
            "a=b=info",
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains("write error, warn"), "{error}");
        }
    }
}
