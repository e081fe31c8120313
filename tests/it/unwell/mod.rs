//! PostgreSQL when it is neither well nor dead: answers that never come, rows and tables that others
//! lock, a log that can't be written, clocks that differ.
//!
//! Nothing may be lost, and nothing that a merchant has acknowledged may be sent again.

mod answers;
mod clocks;
mod hosts;
mod locks;
mod records;
mod slots;
mod snapshots;
mod stalls;
mod world;
