//! OpenMetrics text as the older text format of Prometheus.
//!
//! The samples are the same. There a family of counters has the name of its samples, with `_total`, and what
//! `info` is here is a gauge.

/// The `Content-Type` of [`prometheus_text`].
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Translates what [`Metrics::encode`](super::Metrics::encode) returns.
pub fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // The encoder writes HELP before TYPE: the help waits until the type is known.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(words) = line.strip_prefix("# HELP ") {
            help = words.split_once(' ');
        } else if let Some((name, kind)) = type_of(line) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            if let Some((_, words)) = help.take() {
                // It ends with a full stop that the encoder adds.
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn type_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::telemetry::Metrics;

    #[test]
    fn families_have_the_names_and_types_of_the_older_format() {
        let open_metrics = Metrics::new("3.53.0").encode(Timestamp::from_millis(0));
        let text = prometheus_text(&open_metrics);
        for line in [
            "# TYPE callback_dispatcher_attempts_total counter",
            "# TYPE callback_dispatcher_build_info gauge",
            "# TYPE callback_dispatcher_in_flight gauge",
            "# TYPE callback_dispatcher_delivery_lag_seconds histogram",
            "callback_dispatcher_in_flight 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(
            !text.contains("# EOF") && !text.contains("# UNIT"),
            "{text}"
        );
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples(&text), samples(&open_metrics));
        let helped = text
            .lines()
            .filter(|line| line.starts_with("# HELP"))
            .count();
        let typed = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .count();
        assert_eq!(helped, typed);
    }
}
