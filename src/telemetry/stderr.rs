//! Standard error, written once for many lines.
//!
//! At tens of thousands of attempts a second the system call for each line would cost more than
//! the line. Attempts are recorded many at a time, so their lines are written so too.

use std::cell::RefCell;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// What is gathered at most before it is written.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// The lines of this thread that wait; `None`: lines are written as they come.
    static GATHERED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes what `work` logs in this thread together, at its end, also if it panics.
pub(super) fn together(work: impl FnOnce()) {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            if let Some(lines) = GATHERED.take() {
                // Nobody can be told that standard error is closed.
                let _ = io::stderr().write_all(&lines);
            }
        }
    }
    GATHERED.set(Some(Vec::new()));
    let _end = End;
    work();
}

/// Standard error; see [`together`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Stderr;

impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        GATHERED.with_borrow_mut(|gathered| match gathered {
            None => io::stderr().write(bytes),
            Some(lines) => {
                lines.extend_from_slice(bytes);
                if lines.len() > GATHERED_BYTES_MAX {
                    io::stderr().write_all(lines)?;
                    lines.clear();
                }
                Ok(bytes.len())
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
