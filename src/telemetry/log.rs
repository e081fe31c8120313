//! Where log lines go and in which form.
//!
//! | format | what |
//! |---|---|
//! | text | one line per event on standard error, for people; coloured on a terminal |
//! | json | one object per line on standard error, for collectors; times in RFC 3339, UTC |
//! | journald | entries with fields (`F_OUTCOME=refused`) for `journalctl`; the message is the line of `text` |
//!
//! A line is written by the thread that logs it, in one piece, those of attempts that were
//! recorded together in one piece as well: nothing is lost on exit, and a standard error that
//! nobody reads stalls the program. One that is closed does not.

use std::fmt::Debug;
use std::io::{self, IsTerminal};

use thiserror::Error;
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::journal::Journal;
use super::stderr::Stderr;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
    /// For systemd's journal.
    Journald,
}

/// Why nothing can be logged so.
#[derive(Debug, Error)]
pub enum LogError {
    /// There is no journal here.
    #[error("journald does not answer ({0}); set log.format to \"text\" or \"json\"")]
    Journald(io::Error),
    /// The process logs already.
    #[error("the log of this process is started already; change it through its handle")]
    Started,
    /// The subscriber that the handle belongs to is gone.
    #[error("the log has ended; restart the program")]
    Ended,
}

/// Changes the log while it runs.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
}

impl LogHandle {
    /// Logs what `level` lets through from now on.
    ///
    /// # Errors
    ///
    /// [`LogError::Ended`].
    pub fn set_level(&self, level: Targets) -> Result<(), LogError> {
        self.filter.reload(level).map_err(|_| LogError::Ended)
    }
}

/// Whether this host can log in `format`.
///
/// # Errors
///
/// [`LogError::Journald`].
pub fn check_log(format: LogFormat) -> Result<(), LogError> {
    layer::<Registry, _>(format, io::sink, false).map(|_| ())
}

/// Starts the log of this process: what `level` lets through.
///
/// # Errors
///
/// [`LogError`], and then nothing is logged.
pub fn start_log(level: Targets, format: LogFormat) -> Result<LogHandle, LogError> {
    let (subscriber, handle) = subscriber(level, format, Stderr, is_coloured())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Started)?;
    Ok(handle)
}

/// Whether a person with a terminal reads standard error and did not ask for plain text
/// (<https://no-color.org>).
fn is_coloured() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !plain && io::stderr().is_terminal()
}

/// Everything but making it the process's own.
pub(super) fn subscriber<W>(
    level: Targets,
    format: LogFormat,
    writer: W,
    coloured: bool,
) -> Result<(impl Subscriber + Send + Sync, LogHandle), LogError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(level);
    let filtered = Registry::default().with(filter);
    let subscriber = filtered.with(layer(format, writer, coloured)?);
    Ok((subscriber, LogHandle { filter: handle }))
}

/// Writes a field of a plain line.
fn plain(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        name => write!(writer, "{name}={value:?}"),
    }
}

/// What writes the lines.
fn layer<S, W>(
    format: LogFormat,
    writer: W,
    coloured: bool,
) -> Result<Box<dyn Layer<S> + Send + Sync>, LogError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // Errors in writing are dropped: the default prints them to standard error, and panics when
    // that is the very thing that is closed.
    let lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(coloured)
        .log_internal_errors(false);
    Ok(match format {
        LogFormat::Text if coloured => lines.boxed(),
        // The same as the default form without its colours, at two thirds of the cost.
        LogFormat::Text => lines.fmt_fields(debug_fn(plain).delimited(" ")).boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
        LogFormat::Journald => Journal::open().map_err(LogError::Journald)?.boxed(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::Timestamp;

    /// Keeps what is written.
    #[derive(Clone, Debug, Default)]
    pub(in super::super) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(in super::super) fn text(&self) -> String {
            let bytes = self.0.lock().expect("no test panics under it").clone();
            String::from_utf8(bytes).expect("log lines are UTF-8")
        }
    }

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut paper = self.0.lock().expect("no test panics under it");
            paper.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn level(text: &str) -> Targets {
        text.parse().expect("a level")
    }

    /// What `log` writes in this form.
    pub(in super::super) fn written(format: LogFormat, log: impl FnOnce(&LogHandle)) -> String {
        let paper = Paper::default();
        let make_writer = {
            let paper = paper.clone();
            move || paper.clone()
        };
        let (subscriber, handle) = subscriber(level("info"), format, make_writer, false)
            .expect("text needs nothing of the host");
        tracing::subscriber::with_default(subscriber, || log(&handle));
        paper.text()
    }

    #[test]
    fn json_lines_are_flat_with_utc_times() {
        let text = written(LogFormat::Json, |_| {
            tracing::info!(
                origin = "https://a.example",
                pruned = 3,
                "pruned \"them\"\n"
            );
        });
        let line: serde_json::Value = serde_json::from_str(&text).expect("one JSON line");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(line["message"], "pruned \"them\"\n");
        assert_eq!(line["pruned"], 3);
        assert_eq!(line["level"], "INFO");
        let time = line["timestamp"].as_str().expect("a text");
        assert!(
            time.ends_with('Z') && Timestamp::parse(time).is_some(),
            "{time}"
        );
    }

    #[test]
    fn the_level_changes_at_runtime() {
        let text = written(LogFormat::Text, |handle| {
            tracing::debug!("one");
            handle.set_level(level("debug")).expect("its log is there");
            tracing::debug!("two");
            handle.set_level(level("error")).expect("its log is there");
            tracing::warn!("three");
        });
        let said: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split(' ').next_back())
            .collect();
        assert_eq!(said, ["two"], "{text}");
    }

    #[test]
    fn a_handle_outlives_its_log() {
        let (subscriber, handle) = subscriber(level("info"), LogFormat::Text, io::sink, false)
            .expect("text needs nothing of the host");
        drop(subscriber);
        assert!(matches!(
            handle.set_level(level("info")),
            Err(LogError::Ended)
        ));
    }

    #[test]
    fn a_closed_writer_is_no_panic() {
        struct Closed;
        impl io::Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let (subscriber, _handle) = subscriber(level("info"), LogFormat::Text, || Closed, false)
            .expect("text needs nothing of the host");
        tracing::subscriber::with_default(subscriber, || tracing::error!("unheard"));
    }

    #[test]
    fn a_missing_journal_has_a_remedy() {
        match subscriber(level("info"), LogFormat::Journald, io::sink, false) {
            Ok(_) => {} // there is one on this machine
            Err(error) => {
                assert!(error.to_string().contains("set log.format"), "{error}");
            }
        }
    }
}
