//! A session with either database, over which a rule is written once.
//!
//! A rule is a function over a [`Session`]. Its SQL is the same for both databases but for a few
//! tokens, see [`Dialect::translate`]. On SQLite no statement waits, so the writer's thread runs a
//! rule to its end inside its transaction ([`at_once`]).
//!
//! Deliberately absent: transactions (the caller has one), and the statements that decide the speed
//! of a delivery: claim, record and interrupt are written for each database.

mod value;

use std::borrow::Cow;
use std::future::Future;

use futures_util::FutureExt as _;

use super::StoreError;

pub use value::Value;

pub(super) use value::Row;

/// Runs statements, each with a value for every `?n`. Statements stay prepared.
pub(super) trait Session {
    /// Whose SQL it takes.
    const DIALECT: Dialect;

    /// The rows that a statement returns.
    fn query(
        &self,
        sql: &str,
        values: &[Value],
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Runs a statement that returns no rows; answers with the number of rows that it changed.
    fn execute(
        &self,
        sql: &str,
        values: &[Value],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Whose SQL a session takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// SQLite's.
    Sqlite,
    /// PostgreSQL's.
    Postgres,
}

impl Dialect {
    /// Takes the left side of each `{SQLite|PostgreSQL}`. PostgreSQL has `$n` for `?n`.
    pub(super) fn translate(self, sql: &str) -> Cow<'_, str> {
        if !sql.contains('{') && self == Self::Sqlite {
            return Cow::Borrowed(sql);
        }
        let mut translated = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some((before, token)) = rest.split_once('{') {
            let (token, after) = token.split_once('}').unwrap_or((token, ""));
            let (sqlite, postgres) = token.split_once('|').unwrap_or((token, token));
            translated.push_str(before);
            translated.push_str(match self {
                Self::Sqlite => sqlite,
                Self::Postgres => postgres,
            });
            rest = after;
        }
        translated.push_str(rest);
        match self {
            Self::Sqlite => Cow::Owned(translated),
            Self::Postgres => Cow::Owned(translated.replace('?', "$")),
        }
    }

    /// Whether a text may be in the database. PostgreSQL has no text with a NUL, and refuses a
    /// search for one.
    pub(super) fn can_hold(self, text: &str) -> bool {
        self == Self::Sqlite || !text.contains('\0')
    }
}

/// `?1, ?2` and so on.
pub(super) fn placeholders(count: usize) -> String {
    let places = (1..=count).map(|place| format!("?{place}"));
    places.collect::<Vec<_>>().join(", ")
}

/// The result of a rule on a session that never waits.
pub(super) fn at_once<T>(rule: impl Future<Output = T>) -> T {
    rule.now_or_never()
        .expect("a rule waits for its session alone, and this one never waits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_translated_by_its_tokens() {
        let sql = "SELECT {max|greatest}(?1, ?12) FROM t{ INDEXED BY i|} LIMIT ?2";
        assert_eq!(
            Dialect::Sqlite.translate(sql),
            "SELECT max(?1, ?12) FROM t INDEXED BY i LIMIT ?2"
        );
        assert_eq!(
            Dialect::Postgres.translate(sql),
            "SELECT greatest($1, $12) FROM t LIMIT $2"
        );
    }
}
