//! Durations with units, as Go prints them (`1h2m3s`, `12ms`) or in words (`2 seconds`,
//! `5 minutes`).

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// A duration as Go prints it, without anything around it.
pub(super) fn go(text: &str) -> Option<Duration> {
    let text = text.trim();
    // Only words have spaces between the parts.
    parse(text).filter(|_| !text.contains(' '))
}

/// The duration at the start of a text.
pub(super) fn leading(text: &str) -> Option<Duration> {
    const MOST_WORDS: usize = 8;

    let ends = text
        .match_indices(char::is_whitespace)
        .map(|(at, _)| at)
        .chain([text.len()]);
    let starts: Vec<_> = ends.take(MOST_WORDS).map(|end| &text[..end]).collect();
    // The longest, so that `2 minutes 30 seconds` is not two minutes.
    starts
        .into_iter()
        .rev()
        .find_map(|start| parse(start.trim_end_matches(['.', ',', ';', ')'])))
}

/// A duration that is positive. A number without a unit is none.
fn parse(text: &str) -> Option<Duration> {
    let span: Span = within_nanoseconds(text).parse().ok()?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(span).ok().filter(|wait| !wait.is_zero())
}

/// The text without digits behind the ninth of a fraction, which jiff does not accept.
fn within_nanoseconds(text: &str) -> String {
    let mut fraction = None;
    let is_kept = |c: &char| {
        fraction = match (c, fraction) {
            ('.', _) => Some(0),
            (c, Some(digits)) if c.is_ascii_digit() => Some(digits + 1),
            _ => None,
        };
        fraction.is_none_or(|digits| digits <= 9)
    };
    text.chars().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_to_their_end() {
        for (text, expected) in [
            ("12ms", Some(12.0)),
            ("1s", Some(1000.0)),
            ("6m0s", Some(360_000.0)),
            ("1h2m3s", Some(3_723_000.0)),
            ("114h18m0s", Some(411_480_000.0)),
            ("50.597142857s", Some(50_597.142857)),
            ("1.5h", Some(5_400_000.0)),
            ("1.2600000000000002s", Some(1260.0)),
            ("250µs", Some(0.25)),
            ("0s", None),
            ("-1s", None),
            ("1", None),
            ("1s!", None),
            ("1m 2s", None),
            ("1.2.3s", None),
            ("s", None),
            ("", None),
            ("99999999999999999999h", None),
        ] {
            let millis = go(text).map(|wait| wait.as_secs_f64() * 1e3);
            assert_eq!(millis, expected, "{text}");
        }
    }
}
