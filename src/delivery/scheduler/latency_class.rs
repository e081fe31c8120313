//! How long an origin takes for an attempt, in three classes.

/// What an origin's newest attempt says about its next. Ordered from the slowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LatencyClass {
    /// The newest attempt took long, or one in flight does.
    Slow,
    /// None has ended yet.
    #[default]
    Unproven,
    /// The newest attempt ended soon, however it ended.
    Fast,
}

impl LatencyClass {
    pub(super) const ALL: [Self; 3] = [Self::Slow, Self::Unproven, Self::Fast];
}
