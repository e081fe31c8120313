//! Who may be called.
