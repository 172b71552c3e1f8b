//! Durations: `500ms`, `30s`, `10m`, `2h`, `1d`.

use std::str::FromStr;
use std::time::Duration;

/// A duration. Most settings are disabled by 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// `None` for 0.
    pub fn unless_zero(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl FromStr for Time {
    type Err = String;

    /// Parses a number and its unit. Zero needs no unit.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60 * 1_000,
            "h" => 60 * 60 * 1_000,
            "d" => 24 * 60 * 60 * 1_000,
            "" if number == "0" => 0,
            _ => return Err("expected a time such as 500ms, 30s, 10m, 2h or 1d".to_owned()),
        };
        let number: u64 = number
            .parse()
            .map_err(|_| "the number is too large".to_owned())?;
        let millis = number.checked_mul(millis).ok_or("the time is too long")?;
        Ok(Self(Duration::from_millis(millis)))
    }
}
