//! Named places at which the process can be made to die, for `scripts/crash-campaign`.
//!
//! They are there with the feature `failpoints` alone: a normal build has neither the code nor the
//! names, and `scripts/check` looks. `CALLBACK_DISPATCHER_FAILPOINT=claim-after-commit:3` makes the
//! process kill itself with SIGKILL when it comes to that place for the third time. Nothing is
//! unwound, flushed or closed; what is on the disk then is what a crash there leaves.

/// Kills the process here, if this failpoint was chosen. Without the feature it expands to nothing.
macro_rules! here {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reached($name);
    };
}

pub(crate) use here;

#[cfg(feature = "failpoints")]
pub(crate) use armed::reached;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// The chosen failpoint, and after how many more visits it kills.
    static CHOSEN: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let chosen = std::env::var("CALLBACK_DISPATCHER_FAILPOINT").ok()?;
        let (name, hits) = chosen
            .split_once(':')
            .and_then(|(name, hits)| Some((name, hits.parse().ok()?)))
            .expect("CALLBACK_DISPATCHER_FAILPOINT is NAME:HITS");
        Some((name.to_owned(), AtomicU32::new(hits)))
    });

    pub(crate) fn reached(name: &str) {
        let Some((chosen, hits)) = &*CHOSEN else {
            return;
        };
        if name == chosen && hits.fetch_sub(1, Ordering::SeqCst) == 1 {
            kill_process(getpid(), Signal::KILL).expect("a process may signal itself");
            // Whatever this thread would do next does not happen.
            loop {
                std::thread::park();
            }
        }
    }
}
