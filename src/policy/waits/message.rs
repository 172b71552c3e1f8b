//! Waits in an error's message.

use std::time::Duration;

use jiff::Timestamp;

use super::{calendar, duration};

/// The phrases before a wait, in lower case.
const LEADS: [&str; 5] = [
    "try again in ",
    "try again after ",
    "retry in ",
    "retry after ",
    "regain access on ",
];

/// The first wait in the message, as a duration or as a date.
pub(super) fn wait(message: &str, now: impl Fn() -> Timestamp) -> Option<Duration> {
    let message = message.to_lowercase();
    LEADS.iter().find_map(|lead| {
        let mut rests = message
            .match_indices(lead)
            .map(|(at, _)| &message[at + lead.len()..]);
        rests.find_map(|rest| {
            let moment = || calendar::until(now(), calendar::written(rest)?);
            duration::leading(rest).or_else(moment)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_found_in_the_message() {
        let now: Timestamp = "2026-11-20T20:00:00Z".parse().unwrap();
        for (message, expected) in [
            (
                "Please try again in 3.89s. Visit https://x.test",
                Some(3890),
            ),
            ("Please try again in 174ms.", Some(174)),
            ("Please try again in 6m0s", Some(360_000)),
            ("Please try again in 114h18m0s.", Some(411_480_000)),
            ("Please try again in 1d2h.", Some(93_600_000)),
            ("Please retry in 3.564818218s.", Some(3564)),
            ("Please retry after 86400 seconds.", Some(86_400_000)),
            ("Try again in 2 seconds.", Some(2000)),
            ("TRY AGAIN IN 2 MINUTES 30 SECONDS", Some(150_000)),
            (
                "Please retry after 13 days. To increase",
                Some(1_123_200_000),
            ),
            (
                "You will regain access on 2026-12-01 at 00:00 UTC.",
                Some(878_400_000),
            ),
            ("You will regain access on 2026-12-01.", Some(878_400_000)),
            (
                "You will regain access on 2026-11-20 20:00:30",
                Some(30_000),
            ),
            ("Retry after 2026-11-20T21:00:00+00:00.", Some(3_600_000)),
            ("try again in 0s, or retry after 5s", Some(5000)),
            ("You will regain access on 2020-01-01", None),
            ("Please try again in 5", None),
            ("Please try again in -5s", None),
            ("Please try again later.", None),
            ("Please reduce your message size and try again.", None),
            ("İ try again in", None),
            ("", None),
        ] {
            let millis = wait(message, || now).map(|wait| wait.as_millis());
            assert_eq!(millis, expected, "{message}");
        }
    }
}
