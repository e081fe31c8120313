//! What the suites share: one module for each concern.
//!
//! | module | concern |
//! |---|---|
//! | [`attempt`] | claims and completed attempts, as a dispatcher passes them to the store |
//! | [`callback`] | callbacks in each form in which they are queued |
//! | [`connections`] | a listener that remembers who has connected |
//! | [`place`] | a folder with settings, keys and a queue |
//! | [`postgres`] | a PostgreSQL server |
//! | [`process`] | the program as a process: its output, its signals, its end |
//! | [`program`] | other people's servers |
//! | [`proxy`] | a TCP proxy that keeps answers back |
//! | [`sqlite`] | the `sqlite3` program and Python |
//! | [`store`] | the two databases that a test runs on |
//! | [`table`] | tables of cases as text |
//! | [`tally`] | counts that a campaign's script adds up |
//! | [`vectors`] | the contract's samples and their signatures |
//! | [`waiting`] | conditions that are polled until a deadline |

pub(crate) mod attempt;
pub(crate) mod callback;
pub(crate) mod connections;
pub(crate) mod place;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod sqlite;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod tally;
pub(crate) mod vectors;
pub(crate) mod waiting;
