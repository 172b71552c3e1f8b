//! Durations with units, as Go prints them (`1h2m3s`, `12ms`) or in words (`2 seconds`, `5 minutes`).

use std::time::Duration;

use super::positive;

/// A duration as Go writes it, and nothing else.
pub(super) fn go(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (seconds, rest) = leading(text)?;
    // Spaces between the parts are people's.
    (rest.is_empty() && !text.contains(' ')).then_some(())?;
    positive(seconds)
}

/// The duration at the start of a text, as Go or people write it.
pub(super) fn written(text: &str) -> Option<Duration> {
    positive(leading(text)?.0)
}

/// The seconds at the start, and what follows them. A number without a unit is no duration.
fn leading(text: &str) -> Option<(f64, &str)> {
    let (mut seconds, mut rest) = part(text)?;
    while let Some((more, tail)) = part(rest.trim_start()) {
        seconds += more;
        rest = tail;
    }
    Some((seconds, rest))
}

/// One number and its unit.
fn part(text: &str) -> Option<(f64, &str)> {
    let (number, rest) = split_where(text, |c| !c.is_ascii_digit() && c != '.');
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (unit, rest) = split_where(rest.trim_start(), |c| !c.is_alphabetic());
    Some((number.parse::<f64>().ok()? * seconds_in(unit)?, rest))
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

fn seconds_in(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86400.0,
        _ => return None,
    })
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
