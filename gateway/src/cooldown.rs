//! The cooldown on the command line: `60s` for each refusal, or `1s..60s` to double it from refusal to
//! refusal.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use tower_key_failover::pool::KeyPoolBuilder;

use crate::duration;

/// How long a key cools down if the provider names no wait. The start and the end are equal if the
/// cooldown does not grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooldown(RangeInclusive<Duration>);

impl Default for Cooldown {
    fn default() -> Self {
        Self(Duration::from_secs(1)..=Duration::from_secs(60))
    }
}

impl FromStr for Cooldown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((start, end)) = text.split_once("..") else {
            let time = duration::parse(text)?;
            return Ok(Self(time..=time));
        };
        let (start, end) = (duration::parse(start)?, duration::parse(end)?);
        match start <= end {
            true if !start.is_zero() => Ok(Self(start..=end)),
            true => Err("a cooldown that grows cannot start at 0".to_owned()),
            false => Err("the end is shorter than the start".to_owned()),
        }
    }
}

impl Cooldown {
    pub fn add_to(&self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        match self.0.start() == self.0.end() {
            true => pool.default_cooldown(*self.0.start()),
            false => pool.exponential_cooldown(self.0.clone()),
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
        let minute = Duration::from_secs(60);

        assert_eq!("60s".parse(), Ok(Cooldown(minute..=minute)));
        assert_eq!("1s..1m".parse(), Ok(Cooldown::default()));
    }
}
