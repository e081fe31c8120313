//! `store.url`: which database holds the queue.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::fault::Problem;
use super::inputs::Inputs;
use crate::store::postgres::Database;

/// The database that holds the queue.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL database, perhaps with a password in it.
    Postgres(String),
}

impl StoreUrl {
    /// Reads what was given on the command line instead of in `store.url`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that don't quote a password.
    pub fn of_argument(text: &str, inputs: &Inputs) -> Result<Self, String> {
        Self::parse(text, &inputs.working_directory).map_err(|problem| problem.to_string())
    }

    /// Reads `sqlite:FILE`, `postgres://...` or `postgresql://...`; a relative FILE is joined to
    /// `working_directory`. `sqlite://FILE` is taken as `sqlite:FILE`, as other programs write it.
    pub(super) fn parse(text: &str, working_directory: &Path) -> Result<Self, Problem> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return match Database::parse(text) {
                Ok(_) => Ok(Self::Postgres(text.to_owned())),
                Err(error) => Err(Problem::Invalid(error.to_string())),
            };
        }
        let Some(file) = text.strip_prefix("sqlite:") else {
            // The text is not quoted: it may be a URL with a password in it.
            return Err(Problem::Invalid(
                "not a store; write it as \"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\""
                    .to_owned(),
            ));
        };
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.is_empty() || file == ":memory:" || file.contains('?') {
            return Err(Problem::Invalid(format!(
                "{text:?} names no file that the gateway could write to; \
                 write \"sqlite:FILE\" without parameters"
            )));
        }
        Ok(Self::Sqlite(working_directory.join(file)))
    }

    /// The database for people: the file's path, or the server's URL without user and password.
    pub fn name(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(text) => match (Url::parse(text), Database::parse(text)) {
                (Ok(url), _) => without_password(&url),
                // Of several hosts.
                (Err(_), Ok(database)) => database.name().to_owned(),
                (Err(_), Err(_)) => "[unreadable]".to_owned(),
            },
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.debug_tuple("Postgres").field(&self.name()).finish(),
        }
    }
}

/// `url` as it may be shown: neither user nor password nor query, where drivers take passwords too.
pub(super) fn without_password(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, Problem> {
        StoreUrl::parse(text, Path::new("/srv"))
    }

    #[test]
    fn reads_files_relative_to_the_working_directory() {
        for (text, path) in [
            ("sqlite:queue.db", "/srv/queue.db"),
            ("sqlite://queue.db", "/srv/queue.db"),
            ("sqlite:/var/lib/queue.db", "/var/lib/queue.db"),
            ("sqlite:///var/lib/queue.db", "/var/lib/queue.db"),
        ] {
            assert_eq!(parse(text), Ok(StoreUrl::Sqlite(path.into())), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_file() {
        for text in [
            "",
            "queue.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
            "mysql://h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let problem = parse("mysql://u:hunter2@h/d").expect_err("no such driver");
        assert!(!problem.to_string().contains("hunter2"));
    }

    #[test]
    fn postgres_is_read_and_its_password_not_shown() {
        let url = parse("postgres://user:hunter2@db:5433/queue").expect("a server");
        assert_eq!(format!("{url:?}"), "Postgres(\"postgres://db:5433/queue\")");
        assert_eq!(url.name(), "postgres://db:5433/queue");
        let several = parse("postgres://user:hunter2@one:1,two:2/queue").expect("servers");
        assert_eq!(several.name(), "postgres://one:1,two:2/queue");
        for text in [
            "postgres://user:hunter2@:bad/queue",
            "postgres://user:hunter2@db",
            "postgresql://user:hunter2@db/queue?no_such_parameter=hunter2",
        ] {
            let problem = parse(text).expect_err(text);
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
    }
}
