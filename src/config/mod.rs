//! Configuration and keys.
