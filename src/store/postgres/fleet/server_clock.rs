//! The server's clock, as heartbeats show it: how far it is from this host's, and whether either was
//! set or this host stood still. Pure.

use std::time::Duration;

use crate::clock::BootStopwatch;

/// Differences up to this are taken for the time that a message travels.
const TOLERANCE_MS: i64 = 1000;

/// A difference to this host's clock is followed when it is larger than this.
const FOLLOWED_MS: i64 = 250;

/// A moment of the server's clock, and when it was asked for and heard here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) server_ms: i64,
    /// This host's wall clock when it was asked.
    pub(super) here_ms: i64,
    pub(super) asked: BootStopwatch,
    pub(super) answered: BootStopwatch,
}

/// What a reading says beside the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// As much time there as here.
    Alike,
    /// More time there than here, in milliseconds: the server's clock was set forwards, or this host
    /// stood still without a clock that shows it.
    More(i64),
    /// Less time there: the server's clock was set back.
    Less(i64),
}

impl Reading {
    /// How far the server's clock is ahead, and how wrong that may be.
    fn ahead(&self) -> (i64, i64) {
        let doubt = millis(self.asked.elapsed().saturating_sub(self.answered.elapsed())) / 2;
        (self.server_ms - self.here_ms - doubt, doubt)
    }

    /// What has passed since `before`.
    pub(super) fn since(&self, before: &Self) -> Passed {
        let there = self.server_ms - before.server_ms;
        let since = |from: BootStopwatch, to: BootStopwatch| {
            millis(from.elapsed().saturating_sub(to.elapsed()))
        };
        let most = since(before.asked, self.answered);
        let least = since(before.answered, self.asked);
        if there > most + TOLERANCE_MS {
            Passed::More(there - most)
        } else if there < least - TOLERANCE_MS {
            Passed::Less(least - there)
        } else {
            Passed::Alike
        }
    }

    /// How far the server's clock is ahead of this host's, given what was known before. It stays the
    /// same as long as it may be the same.
    pub(super) fn skew(&self, known: i64) -> i64 {
        let (ahead, doubt) = self.ahead();
        match (ahead - known).abs() > FOLLOWED_MS + doubt {
            true => ahead,
            false => known,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked, and answered 100 ms later.
    async fn reading(server_ms: i64, here_ms: i64) -> Reading {
        let asked = BootStopwatch::start();
        tokio::time::advance(Duration::from_millis(100)).await;
        Reading {
            server_ms,
            here_ms,
            asked,
            answered: BootStopwatch::start(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_told_from_a_slow_answer() {
        for (later, steps_s) in [(2_100, 0), (3_000, 0), (22_200, 20), (-18_000, -20)] {
            let before = reading(50_000, 0).await;
            tokio::time::advance(Duration::from_secs(2)).await;
            let after = reading(50_000 + later, 0).await;
            // The time that this test takes is part of what passes.
            let found = match after.since(&before) {
                Passed::Alike => 0,
                Passed::More(ms) => (ms + 100) / 1000,
                Passed::Less(ms) => -(ms + 100) / 1000,
            };
            assert_eq!(found, steps_s, "{later}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_skew_is_followed_when_it_is_certain() {
        for (server_ms, known, skew_s) in [
            (1_050, 0, 0),
            (1_300, 0, 0),
            (31_050, 0, 30),
            (31_050, 29_900, 29),
            (-8_850, 0, -10),
        ] {
            let skew = reading(server_ms, 1_000).await.skew(known);
            // The time that this test takes is part of the answer's.
            assert_eq!((skew + 50).div_euclid(1000), skew_s, "{server_ms}: {skew}");
        }
    }
}
