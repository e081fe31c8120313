//! Delivers signed payment and refund results to merchants: takes rows from a queue table, signs
//! and POSTs them, and lets only `{"transResult":"SUCCESS"}` count as delivered.
//!
//! The layers, each importing only those above it in this list:
//!
//! 1. [`domain`]: what the source document says, pure.
//! 2. [`clock`]: time as a parameter.
//! 3. [`store`]: the queue in a database.
//! 4. [`delivery`]: from a due row to a recorded outcome.
//! 5. [`reconciliation`]: proof that no callback was left out.
//! 6. [`housekeeping`]: what has to be done now and then.
//! 7. [`health`]: what needs a person.
//! 8. [`config`], [`telemetry`], [`admin`], [`merchant`], [`explanation`], [`diagnosis`]: what
//!    surrounds it.
//! 9. [`service`]: all of it put together.
//! 10. [`cli`]: the commands.
//!
//! Beneath them all, and in test builds alone: `failpoint`, places to crash at.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod diagnosis;
pub mod domain;
pub mod explanation;
mod failpoint;
pub mod health;
pub mod housekeeping;
pub mod merchant;
pub mod reconciliation;
pub mod service;
pub mod store;
pub mod telemetry;
