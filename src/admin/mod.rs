//! Admin HTTP: health, readiness, metrics.
