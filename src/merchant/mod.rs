//! A merchant to test against.
