//! Moments, and the time until they come.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{http_date, number};

/// The rule for Los Angeles since 2007. It needs no time-zone database.
const LOS_ANGELES: &str = "PST8PDT,M3.2.0,M11.1.0";

/// The time until a moment in the future.
pub(super) fn until(now: Timestamp, moment: Timestamp) -> Option<Duration> {
    Duration::try_from(moment.duration_since(now))
        .ok()
        .filter(|wait| !wait.is_zero())
}

/// RFC 3339, an HTTP date, or a number since the epoch.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    match number(text) {
        Some(number) => epoch(number),
        None => text.parse().ok().or_else(|| http_date::parse(text)),
    }
}

/// Seconds or milliseconds since the epoch, distinguished by size. A number below 1e9 is neither.
pub(super) fn epoch(number: f64) -> Option<Timestamp> {
    if number >= 1e11 {
        Timestamp::from_millisecond(number as i64).ok()
    } else if number >= 1e9 {
        Timestamp::from_millisecond((number * 1e3) as i64).ok()
    } else {
        None
    }
}

/// A date with or without a time in a message: `2026-12-01 at 00:00 UTC`. Always UTC.
pub(super) fn written(text: &str) -> Option<Timestamp> {
    let word = text.split_whitespace().next()?;
    if let Ok(moment) = word.trim_end_matches(['.', ',', ';', ')']).parse() {
        return Some(moment);
    }
    let date: Date = text.get(..10)?.parse().ok()?;
    let rest = text.get(10..)?;
    let time = rest.strip_prefix(" at ").or_else(|| rest.strip_prefix(' '));
    let time = time.and_then(leading_time).unwrap_or(Time::midnight());
    utc(DateTime::from_parts(date, time))
}

/// `HH:MM` or `HH:MM:SS` at the start.
fn leading_time(text: &str) -> Option<Time> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != ':')
        .unwrap_or(text.len());
    let mut fields = text[..end].split(':').map(str::parse::<i8>);
    let hour = fields.next()?.ok()?;
    let minute = fields.next()?.ok()?;
    let second = fields.next().unwrap_or(Ok(0)).ok()?;
    Time::new(hour, minute, second, 0).ok()
}

fn utc(moment: DateTime) -> Option<Timestamp> {
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The time until the next midnight in Los Angeles, when Google's daily quotas reset.
pub(in crate::policy) fn midnight_pacific(now: Timestamp) -> Option<Duration> {
    let pacific = TimeZone::posix(LOS_ANGELES).ok()?;
    let tomorrow = now.to_zoned(pacific.clone()).date().tomorrow().ok()?;
    until(now, tomorrow.to_zoned(pacific).ok()?.timestamp())
}

/// The time until the next month starts in UTC.
pub(in crate::policy) fn next_month(now: Timestamp) -> Option<Duration> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let first = today.first_of_month().checked_add(1.month()).ok()?;
    until(now, utc(first.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(wait: Option<Duration>) -> Option<u64> {
        wait.map(|wait| wait.as_secs() / 3600)
    }

    #[test]
    fn midnight_in_los_angeles_knows_summer_time() {
        for (now, expected) in [
            // Winter: UTC-8. Summer: UTC-7.
            ("2026-11-20T20:00:00Z", 12),
            ("2026-07-20T20:00:00Z", 11),
            // The days on which the clocks are changed have 23 and 25 hours.
            ("2026-03-08T08:00:00Z", 23),
            ("2026-11-01T07:00:00Z", 25),
        ] {
            let now = now.parse().unwrap();
            assert_eq!(hours(midnight_pacific(now)), Some(expected), "{now}");
        }
    }

    #[test]
    fn the_next_month_may_be_in_the_next_year() {
        for (now, expected) in [
            ("2026-11-20T20:00:00Z", 244),
            ("2026-12-31T23:00:00Z", 1),
            ("2028-02-28T00:00:00Z", 48),
            ("2026-12-01T00:00:00Z", 31 * 24),
        ] {
            let now = now.parse().unwrap();
            assert_eq!(hours(next_month(now)), Some(expected), "{now}");
        }
    }
}
