//! Entries for systemd's journal, by its native protocol.
//!
//! `journalctl` shows the message alone. So the message is the whole line of the text form, and its fields
//! stand beside it as well (`F_OUTCOME=refused`).
//!
//! Deliberately absent: entries too large for a datagram. No line is that long.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Writes events into the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// An error if there is no journal.
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.send_to(&[], SOCKET)?;
        Ok(Self { socket })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // There is nowhere else to say that it failed.
        let _ = self.socket.send_to(&Entry::of(event).bytes, SOCKET);
    }
}

/// An entry in the making.
#[derive(Debug, Default)]
struct Entry {
    message: String,
    bytes: Vec<u8>,
}

impl Entry {
    fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut entry = Self::default();
        event.record(&mut entry);
        let priority = match *metadata.level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        let message = std::mem::take(&mut entry.message);
        for (name, value) in [
            ("MESSAGE", &*message),
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME")),
            ("TARGET", metadata.target()),
            ("CODE_FILE", metadata.file().unwrap_or_default()),
        ] {
            entry.put(name, value);
        }
        entry
    }

    /// With its length, so that a line feed in it forges nothing.
    fn put(&mut self, name: &str, value: &str) {
        self.bytes.extend(name.as_bytes());
        self.bytes.push(b'\n');
        self.bytes.extend((value.len() as u64).to_le_bytes());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(b'\n');
    }

    fn add(&mut self, field: &Field, shown: &str, value: &str) {
        match field.name() {
            "message" => self.message.insert_str(0, shown),
            name => {
                self.message.push_str(&format!(" {name}={shown}"));
                self.put(&format!("F_{}", name.to_ascii_uppercase()), value);
            }
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &format!("{value:?}"), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let shown = format!("{value:?}");
        self.add(field, &shown, &shown);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps the fields of what is logged.
    struct Reader(Arc<Mutex<Vec<(String, String)>>>);

    impl<S: Subscriber> Layer<S> for Reader {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let bytes = Entry::of(event).bytes;
            let mut rest = bytes.as_slice();
            let mut fields = self.0.lock().expect("no test panics under it");
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (length, value) = rest[end + 1..].split_at(8);
                let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
                let length = usize::try_from(length).expect("a short value");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
                fields.push((text(&rest[..end]), text(&value[..length])));
                assert_eq!(value[length], b'\n');
                rest = &value[length + 1..];
            }
        }
    }

    #[test]
    fn the_message_has_the_cause_and_a_line_feed_forges_no_field() {
        let read = Arc::default();
        let subscriber = Registry::default().with(Reader(Arc::clone(&read)));
        tracing::subscriber::with_default(subscriber, || {
            let error = io::Error::other("no space");
            tracing::error!(job = "count\nPRIORITY=0", %error, "a job failed");
        });
        let fields = read.lock().expect("no test panics under it");
        let value = |name: &str| {
            let mut found = fields.iter().filter(|(found, _)| found == name);
            let value = found.next().map(|(_, value)| value.clone());
            assert_eq!(found.next(), None, "{name} is there twice");
            value.unwrap_or_default()
        };
        assert_eq!(
            value("MESSAGE"),
            "a job failed job=\"count\\nPRIORITY=0\" error=no space"
        );
        assert_eq!(value("PRIORITY"), "3");
        assert_eq!(value("F_JOB"), "count\nPRIORITY=0");
        assert_eq!(value("F_ERROR"), "no space");
        assert_eq!(value("SYSLOG_IDENTIFIER"), "callback-dispatcher");
    }
}
