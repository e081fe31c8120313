//! Where a value lies on an axis, and which values the axis names.

/// How values lie on the vertical axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    /// What is at the top.
    top: f64,
    ticks: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// From zero.
    Linear,
    /// From this value, which is above zero.
    Logarithmic(f64),
}

impl Scale {
    /// From zero to a round number at or above `max`, for whole numbers.
    pub(super) fn linear(max: f64) -> Self {
        let step = round_step(max / 4.0).max(1.0);
        let top = (max / step).ceil().max(1.0) * step;
        let count = (top / step).round() as usize;
        Self {
            kind: Kind::Linear,
            top,
            ticks: (0..=count).map(|n| n as f64 * step).collect(),
        }
    }

    /// By powers of ten that enclose `min` and `max`; both are above zero.
    pub(super) fn logarithmic(min: f64, max: f64) -> Self {
        let low = min.log10().floor();
        let high = max.log10().ceil().max(low + 1.0);
        let count = (high - low) as i32;
        Self {
            kind: Kind::Logarithmic(10_f64.powf(low)),
            top: 10_f64.powf(high),
            ticks: (0..=count).map(|n| 10_f64.powi(low as i32 + n)).collect(),
        }
    }

    /// How far up `value` is, from 0 to 1.
    pub(super) fn height(&self, value: f64) -> f64 {
        let height = match self.kind {
            Kind::Linear => value / self.top,
            Kind::Logarithmic(low) => (value.max(low) / low).log10() / (self.top / low).log10(),
        };
        height.clamp(0.0, 1.0)
    }

    /// The values to name.
    pub(super) fn ticks(&self) -> &[f64] {
        &self.ticks
    }
}

/// The smallest of 1, 2, 5, 10, 20, 50, … that is not below `least`.
fn round_step(least: f64) -> f64 {
    if least <= 1.0 {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps.iter().map(|step| step * power);
    fits.into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_at_a_round_number() {
        for (max, top, ticks) in [
            (0.0, 1.0, 2),
            (1.0, 1.0, 2),
            (3.0, 3.0, 4),
            (7.0, 8.0, 5),
            (100.0, 100.0, 3),
            (1234.0, 1500.0, 4),
        ] {
            let scale = Scale::linear(max);
            assert_eq!((scale.top, scale.ticks.len()), (top, ticks), "{max}");
            assert!(scale.height(max) <= 1.0 && scale.height(0.0) == 0.0);
        }
        assert!((Scale::linear(8.0).height(4.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_logarithmic_axis_goes_by_powers_of_ten() {
        let scale = Scale::logarithmic(0.02, 5.0);
        let ticks: Vec<String> = scale
            .ticks
            .iter()
            .map(|tick| format!("{tick:.2}"))
            .collect();
        assert_eq!(ticks, ["0.01", "0.10", "1.00", "10.00"]);
        assert!((scale.height(0.1) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(scale.height(0.0), 0.0);
        assert_eq!(Scale::logarithmic(1.0, 1.0).ticks.len(), 2);
    }
}
