//! The records that replicas exchange, and which of two records wins.
//!
//! Records of one name form a join-semilattice: of two records, the one with the greater
//! `(epoch, end)` wins. Messages can therefore be lost, repeated and reordered.

use std::time::Duration;

use tokio::time::Instant;
use tower_key_failover::pool::Reason;

use crate::names::{Name, Sealed};

/// The greatest whole number that a Lua script can count to.
pub(crate) const GREATEST_NUMBER: u64 = (1 << 53) - 1;

/// `until` of a record without an end.
const FOREVER: u64 = GREATEST_NUMBER;

/// Smaller extensions are not worth a message.
pub(crate) const SLACK: Duration = Duration::from_millis(250);

/// A record as the server stores it, with times of the server's clock in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the act of an operator that this record is about happened, or that preceded it.
    pub(crate) epoch: u64,
    /// When the limit opens. 0 if it is open.
    pub(crate) until: u64,
    /// When the record was made.
    pub(crate) at: u64,
    pub(crate) reason: Reason,
}

/// A record on this replica's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) epoch: u64,
    pub(crate) end: End,
    pub(crate) reason: Reason,
}

/// When a limit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is open.
    Open,
    At(Instant),
    /// Not until an operator or a probe returns it.
    Never,
}

/// A record, and what it is about, as the server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: Name,
    /// The owner and the scope, if the record is about a scope.
    pub(crate) sealed: Option<Sealed>,
    pub(crate) record: Record,
}

impl Told {
    /// Reads a name, and `epoch until at kind reason`, which the sealed scope may follow.
    pub(crate) fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let sealed = std::str::from_utf8(value).ok()?.split(' ').nth(5);
        Some(Self {
            name: Name::parse(name)?,
            sealed: match sealed {
                Some(sealed) => Some(Sealed::parse(sealed)?),
                None => None,
            },
            record: Record::parse(value)?,
        })
    }
}

impl Record {
    /// Reads `epoch until at kind reason`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let mut number = || -> Option<u64> {
            let number = words.next()?.parse().ok()?;
            (number <= GREATEST_NUMBER).then_some(number)
        };
        let (epoch, until, at) = (number()?, number()?, number()?);
        // The kind follows from the name and the end. It is for people who look at the server.
        let (_kind, reason) = (words.next()?, words.next()?);
        let reason = REASONS.into_iter().find(|known| known.as_str() == reason);
        Some(Self {
            epoch,
            until,
            at,
            reason: reason.unwrap_or(Reason::Other),
        })
    }

    /// The same on this replica's clock, when the server's clock shows `server_now`.
    pub(crate) fn held(&self, server_now: u64, now: Instant) -> Held {
        let left = || {
            // If the server's clock went backward, no limit is closed for longer than it was at first.
            let left = self.until.saturating_sub(server_now);
            let left = left.min(self.until.saturating_sub(self.at));
            Duration::from_millis(left)
        };
        let end = match self.until {
            FOREVER => End::Never,
            _ => End::after(left(), now),
        };
        Held {
            epoch: self.epoch,
            end,
            reason: self.reason,
        }
    }
}

const REASONS: [Reason; 6] = [
    Reason::RateLimited,
    Reason::Quota,
    Reason::Unauthorized,
    Reason::Forbidden,
    Reason::Operator,
    Reason::Other,
];

impl End {
    pub(crate) fn after(left: Duration, now: Instant) -> Self {
        match now.checked_add(left) {
            Some(end) if !left.is_zero() => Self::At(end),
            _ => Self::Open,
        }
    }

    /// An end that has passed is the same as none.
    pub(crate) fn seen_at(self, now: Instant) -> Self {
        match self {
            Self::At(end) if end <= now => Self::Open,
            end => end,
        }
    }

    /// Whether this end is later, by enough to be worth a message. A token bucket refills before the
    /// message arrives everywhere.
    pub(crate) fn outlasts(self, other: Self, now: Instant) -> bool {
        match (self.seen_at(now), other.seen_at(now)) {
            (Self::Open, _) | (_, Self::Never) => false,
            (Self::Never, _) => true,
            (Self::At(end), Self::Open) => end >= now + SLACK,
            (Self::At(end), Self::At(other)) => end >= other + SLACK,
        }
    }
}

impl Held {
    /// Nothing is known of a limit.
    pub(crate) const NOTHING: Self = Self {
        epoch: 0,
        end: End::Open,
        reason: Reason::Other,
    };

    pub(crate) fn outranks(self, other: Self, now: Instant) -> bool {
        self.epoch > other.epoch || self.epoch == other.epoch && self.end.outlasts(other.end, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_its_reason() {
        let record = Record::parse(b"1763740000000 1763740005000 1763740001000 c rate_limited");
        let expected = Record {
            epoch: 1_763_740_000_000,
            until: 1_763_740_005_000,
            at: 1_763_740_001_000,
            reason: Reason::RateLimited,
        };
        assert_eq!(record, Some(expected));
        let unknown = Record::parse(b"0 0 0 c of-a-later-version").unwrap();
        assert_eq!(unknown.reason, Reason::Other);
    }

    #[test]
    fn what_is_no_record_is_ignored() {
        for text in [
            "",
            "1",
            "1 2 3",
            "1 2 3 c",
            "a 2 3 c other",
            "-1 2 3 c other",
        ] {
            assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
        }
        let beyond_what_lua_counts = b"9007199254740993 0 0 c other";
        assert_eq!(Record::parse(beyond_what_lua_counts), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cooldown_that_is_over_in_a_moment_is_not_worth_a_message() {
        let now = Instant::now();
        let after = |millis| End::after(Duration::from_millis(millis), now);
        assert!(!after(249).outlasts(End::Open, now));
        assert!(after(250).outlasts(End::Open, now));
        assert!(!after(1_249).outlasts(after(1_000), now));
        assert!(after(1_250).outlasts(after(1_000), now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_closed_no_longer_than_it_was_at_first() {
        let (now, hour) = (Instant::now(), 3_600_000);
        let record = Record {
            epoch: 0,
            until: 10 * hour + 5_000,
            at: 10 * hour,
            reason: Reason::RateLimited,
        };
        for (server_now, seconds) in [(10 * hour, 5), (10 * hour + 2_000, 3), (9 * hour, 5)] {
            let end = now + Duration::from_secs(seconds);
            assert_eq!(
                record.held(server_now, now).end,
                End::At(end),
                "{server_now}"
            );
        }
        assert_eq!(record.held(11 * hour, now).end, End::Open);
    }
}
