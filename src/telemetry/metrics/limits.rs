//! How many callbacks origins get at a time, without a merchant's value: origins are counted in steps.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{OneLabel, registered};

/// The upper bounds of the steps, and their labels.
const BOUNDS: [(usize, &str); 8] = [
    (1, "1"),
    (2, "2"),
    (4, "4"),
    (8, "8"),
    (16, "16"),
    (32, "32"),
    (64, "64"),
    (256, "256"),
];

/// By [`BOUNDS`]; the last is for what is beyond them.
#[derive(Debug)]
pub(super) struct LimitSeries([Gauge; BOUNDS.len() + 1]);

impl LimitSeries {
    pub(super) fn new(into: &mut Registry) -> Self {
        let origins = registered(
            into,
            "learned_limit_origins",
            "Origins by how many callbacks each gets at a time, as learned from its answers: at_most is the upper bound of a step, as of the last 15 s",
            Family::<OneLabel, Gauge>::default(),
        );
        Self(std::array::from_fn(|step| {
            let at_most = BOUNDS.get(step).map_or("more", |(_, label)| label);
            origins.get_or_create_owned(&[("at_most", at_most)])
        }))
    }

    pub(super) fn set(&self, limits: &[usize]) {
        let mut origins = [0; BOUNDS.len() + 1];
        for limit in limits {
            let step = BOUNDS.iter().position(|(bound, _)| limit <= bound);
            origins[step.unwrap_or(BOUNDS.len())] += 1;
        }
        for (gauge, origins) in self.0.iter().zip(origins) {
            gauge.set(origins);
        }
    }
}
