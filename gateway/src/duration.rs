//! Durations on the command line: `500ms`, `30s`, `10m`, `2h`, `1d`.

use std::time::Duration;

/// Parses a number and its unit. Zero needs no unit.
pub fn parse(text: &str) -> Result<Duration, String> {
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
    Ok(Duration::from_millis(millis))
}
