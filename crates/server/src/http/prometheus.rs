//! Metrics page in Prometheus' text format.

use std::fmt::{Display, Write};

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::telemetry::histogram::{BOUNDS_S, Histogram};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text so far.
#[derive(Default)]
pub(crate) struct MetricsText(String);

impl IntoResponse for MetricsText {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, FORMAT)], self.0).into_response()
    }
}

impl MetricsText {
    pub(crate) fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(crate) fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        if labels.is_empty() {
            self.push(format_args!("{name} {value}\n"));
        } else {
            self.push(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "gauge", help);
        self.line(name, &[], value);
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "counter", help);
        self.line(name, &[], value);
    }

    pub(crate) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        self.counters(name, &[], histogram);
    }

    /// A histogram of each step.
    pub(crate) fn steps(&mut self, name: &str, help: &str, steps: &[&str], times: &[Histogram]) {
        self.begin(name, "histogram", help);
        for (step, histogram) in steps.iter().zip(times) {
            self.counters(name, &[("step", step)], histogram);
        }
    }

    fn counters(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in BOUNDS_S.iter().zip(histogram.counts) {
            below += count;
            let le = bound.to_string();
            self.line(&bucket, &[labels, &[("le", &le)]].concat(), below);
        }
        let count = histogram.count;
        self.line(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.line(&format!("{name}_sum"), labels, histogram.sum_s);
        self.line(&format!("{name}_count"), labels, count);
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a text takes all");
    }
}

/// A label's value as the format has it.
fn escape(value: &str) -> String {
    (value.replace('\\', "\\\\"))
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_end_a_value() {
        let mut page = MetricsText::default();
        page.line("up", &[("server", "a\"b\\c\nd:1"), ("state", "up")], 1);
        let expected = "up{server=\"a\\\"b\\\\c\\nd:1\",state=\"up\"} 1\n";
        assert_eq!(page.0, expected);
    }
}
