//! Plots as SVG, drawn here on the server.
//!
//! Each has a title and a description for those who do not see it, and stands beside a table with the
//! same numbers. Colours come from the style sheet by class; where they alone would tell series
//! apart, stacks are in the order of the legend and lines differ in their dashes.

mod scale;

use maud::{Markup, PreEscaped, html};

use crate::domain::Timestamp;
use scale::Scale;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// So many moments are named on the horizontal axis, about.
const LABELS: usize = 5;

/// One of the things that a plot shows.
pub(super) struct Series {
    /// Its name in the legend.
    pub(super) name: &'static str,
    /// Its class in the style sheet.
    pub(super) class: &'static str,
    /// One value for each period; `None` where nothing is known.
    pub(super) values: Vec<Option<f64>>,
}

/// What a plot shows.
pub(super) struct Plot<'a> {
    /// Unique on the page.
    pub(super) id: &'static str,
    /// What it is.
    pub(super) title: &'static str,
    /// What is to be seen, in a sentence.
    pub(super) description: String,
    /// When each period began.
    pub(super) periods: &'a [Timestamp],
    /// What it shows, the lowest first in a stack.
    pub(super) series: &'a [Series],
    /// How a value is named on the vertical axis.
    pub(super) label: fn(f64) -> String,
}

impl Plot<'_> {
    /// Bars, one on the other, for counts.
    pub(super) fn stacked(&self) -> Markup {
        let sums = (0..self.periods.len()).map(|place| self.sum(place));
        let scale = Scale::linear(sums.fold(0.0, f64::max));
        let width = self.step() * 0.8;
        let bars = html! {
            @for series in self.series.iter().enumerate() {
                @let (above, series) = series;
                g class={ "bar " (series.class) } {
                    @for place in 0..self.periods.len() {
                        @let value = series.values[place].unwrap_or_default();
                        @if value > 0.0 {
                            @let below: f64 = self.below(place, above);
                            @let top = y(scale.height(below + value));
                            @let height = y(scale.height(below)) - top;
                            rect x=(point(self.x(place) + self.step() * 0.1)) y=(point(top))
                                width=(point(width)) height=(point(height.max(1.0))) {}
                        }
                    }
                }
            }
        };
        self.frame(&scale, &bars)
    }

    /// Lines over a logarithmic axis, for durations.
    pub(super) fn logarithmic_lines(&self) -> Markup {
        let values = || {
            self.series
                .iter()
                .flat_map(|series| series.values.iter().flatten())
        };
        let above_zero = || values().copied().filter(|value| *value > 0.0);
        let min = above_zero().fold(f64::INFINITY, f64::min);
        let max = above_zero().fold(0.0, f64::max);
        let scale = match min.is_finite() {
            true => Scale::logarithmic(min, max),
            false => Scale::logarithmic(1.0, 10.0),
        };
        self.lines(&scale)
    }

    /// Lines over an axis that begins at zero, for depths.
    pub(super) fn linear_lines(&self) -> Markup {
        let values = self
            .series
            .iter()
            .flat_map(|series| series.values.iter().flatten());
        let scale = Scale::linear(values.copied().fold(0.0, f64::max));
        self.lines(&scale)
    }

    /// A line for each series; where nothing is known, there is a gap.
    fn lines(&self, scale: &Scale) -> Markup {
        let lines = html! {
            @for series in self.series {
                g class={ "line " (series.class) } {
                    @for run in runs(&series.values) {
                        @let points = self.points(&run, scale);
                        @if run.len() == 1 {
                            circle cx=(point(self.middle(run[0].0)))
                                cy=(point(y(scale.height(run[0].1)))) r="3" {}
                        } @else {
                            polyline points=(points) {}
                        }
                    }
                }
            }
        };
        self.frame(scale, &lines)
    }

    /// The axes around what is drawn, the words for those who do not see it, and the legend.
    fn frame(&self, scale: &Scale, drawn: &Markup) -> Markup {
        let (title_id, description_id) =
            (format!("{}-title", self.id), format!("{}-text", self.id));
        html! {
            figure .plot {
                figcaption { (self.title) }
                svg role="img" viewBox={ "0 0 " (WIDTH as u32) " " (HEIGHT as u32) }
                    aria-labelledby=(title_id) aria-describedby=(description_id) {
                    title id=(title_id) { (self.title) }
                    desc id=(description_id) { (self.description) }
                    g .grid {
                        @for tick in scale.ticks() {
                            @let at = y(scale.height(*tick));
                            line x1=(point(LEFT)) x2=(point(WIDTH - RIGHT)) y1=(point(at)) y2=(point(at)) {}
                            text x=(point(LEFT - 6.0)) y=(point(at + 4.0)) .end { ((self.label)(*tick)) }
                        }
                        @for place in self.labelled() {
                            text x=(point(self.middle(place))) y=(point(HEIGHT - 8.0)) .middle {
                                (hour_and_minute(self.periods[place]))
                            }
                        }
                    }
                    (drawn)
                }
                @if self.series.len() > 1 {
                    ul .legend {
                        @for series in self.series {
                            li {
                                // Its own description is the word beside it.
                                svg aria-hidden="true" viewBox="0 0 24 12" {
                                    g class={ "key " (series.class) } {
                                        rect x="0" y="1" width="24" height="10" {}
                                        line x1="0" x2="24" y1="6" y2="6" {}
                                    }
                                }
                                (series.name)
                            }
                        }
                    }
                }
            }
        }
    }

    fn sum(&self, place: usize) -> f64 {
        self.below(place, self.series.len())
    }

    /// The sum of the first `count` series.
    fn below(&self, place: usize, count: usize) -> f64 {
        let series = self.series[..count].iter();
        series.filter_map(|series| series.values[place]).sum()
    }

    fn step(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.periods.len().max(1) as f64
    }

    fn x(&self, place: usize) -> f64 {
        LEFT + self.step() * place as f64
    }

    fn middle(&self, place: usize) -> f64 {
        self.x(place) + self.step() / 2.0
    }

    fn points(&self, run: &[(usize, f64)], scale: &Scale) -> String {
        let points = run.iter().map(|(place, value)| {
            let (x, y) = (self.middle(*place), y(scale.height(*value)));
            format!("{x:.1},{y:.1}")
        });
        points.collect::<Vec<_>>().join(" ")
    }

    /// Periods whose beginning is named, counted back from the newest.
    fn labelled(&self) -> Vec<usize> {
        let count = self.periods.len();
        let every = count.div_ceil(LABELS).max(1);
        (0..count)
            .filter(|place| place % every == every / 2)
            .collect()
    }
}

/// Stretches of known values, with their places.
fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut runs: Vec<Vec<(usize, f64)>> = Vec::new();
    let mut open = false;
    for (place, value) in values.iter().enumerate() {
        match (value, open.then(|| runs.last_mut()).flatten()) {
            (Some(value), Some(run)) => run.push((place, *value)),
            (Some(value), None) => runs.push(vec![(place, *value)]),
            (None, _) => {}
        }
        open = value.is_some();
    }
    runs
}

/// Where on the picture a height between 0 and 1 is.
fn y(height: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - height)
}

fn point(value: f64) -> PreEscaped<String> {
    PreEscaped(format!("{value:.1}"))
}

fn hour_and_minute(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.get(11..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot<'a>(periods: &'a [Timestamp], series: &'a [Series]) -> Plot<'a> {
        Plot {
            id: "ends",
            title: "Attempts",
            description: "Three of them.".to_owned(),
            periods,
            series,
            label: |value| format!("{value:.0}"),
        }
    }

    fn periods(count: i64) -> Vec<Timestamp> {
        let minute = |n| Timestamp::from_millis(1_700_049_600_000 + n * 60_000);
        (0..count).map(minute).collect()
    }

    fn series(name: &'static str, values: &[Option<f64>]) -> Series {
        Series {
            name,
            class: name,
            values: values.to_vec(),
        }
    }

    #[test]
    fn bars_stand_one_on_the_other() {
        let periods = periods(2);
        let low = series("low", &[Some(1.0), None]);
        let high = series("high", &[Some(3.0), Some(0.0)]);
        let svg = plot(&periods, &[low, high]).stacked().into_string();
        // The axis goes to four over 184 units: the lower bar takes a quarter, the upper the rest.
        let low = r#"<g class="bar low"><rect x="90.3" y="148.0" width="194.4" height="46.0"></rect></g>"#;
        let high = r#"<g class="bar high"><rect x="90.3" y="10.0" width="194.4" height="138.0"></rect></g>"#;
        assert!(svg.contains(low) && svg.contains(high), "{svg}");
        assert!(
            svg.contains(r#"<title id="ends-title">Attempts</title>"#),
            "{svg}"
        );
        assert!(svg.contains("Three of them."), "{svg}");
        assert!(svg.contains(">12:00<"), "{svg}");
        assert!(!svg.contains("style="), "the policy forbids it");
    }

    #[test]
    fn what_is_not_known_is_a_gap() {
        let known = [Some(1.0), Some(2.0), None, Some(3.0), None];
        let lengths: Vec<usize> = runs(&known).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1]);
        let periods = periods(5);
        let svg = plot(&periods, &[series("a", &known)])
            .linear_lines()
            .into_string();
        assert_eq!(svg.matches("<polyline").count(), 1, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1, "{svg}");
    }

    #[test]
    fn an_empty_plot_has_its_axes() {
        let periods = periods(60);
        let nothing = [series("a", &[None; 60])];
        for svg in [
            plot(&periods, &nothing).stacked(),
            plot(&periods, &nothing).linear_lines(),
            plot(&periods, &nothing).logarithmic_lines(),
        ] {
            let svg = svg.into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("12:00") || svg.contains("12:06"), "{svg}");
        }
        plot(&[], &[]).stacked();
    }
}
