//! The cooldown: `60s` for each refusal, or `1s..60s` to double it from refusal to refusal.

use std::str::FromStr;

use tower_key_failover::pool::KeyPoolBuilder;

use crate::duration::Time;

/// How long a key cools down if the provider names no wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooldown {
    start: Time,
    /// Equal to the start if the cooldown does not grow.
    end: Time,
}

impl FromStr for Cooldown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once("..").unwrap_or((text, text));
        let (start, end): (Time, Time) = (start.parse()?, end.parse()?);
        if end < start {
            return Err("the end is shorter than the start".to_owned());
        }
        if start != end && start.unless_zero().is_none() {
            return Err("a cooldown that grows cannot start at 0".to_owned());
        }
        Ok(Self { start, end })
    }
}

impl Cooldown {
    pub fn add_to(&self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        let (Time(start), Time(end)) = (self.start, self.end);
        match start == end {
            true => pool.default_cooldown(start),
            false => pool.exponential_cooldown(start..=end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_with_a_wrong_order_or_unit_is_rejected() {
        for text in [
            "60s..1s",
            "0..60s",
            "1s..",
            "..60s",
            "1..60",
            "1s..2s..3s",
            "",
        ] {
            assert!(text.parse::<Cooldown>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_single_time_is_a_cooldown_that_does_not_grow() {
        assert_eq!("60s".parse::<Cooldown>(), "60s..1m".parse());
    }
}
