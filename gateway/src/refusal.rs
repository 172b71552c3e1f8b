//! What a refusal does to its key: `forward`, `keep`, `suspect`, `temporary`, `permanent`, or a time.

use std::str::FromStr;

use tower_key_failover::policy::{Mark, Verdict};

use crate::duration::Time;
use crate::suggestion::similar;

const NAMES: [&str; 5] = ["forward", "keep", "suspect", "temporary", "permanent"];

/// The verdict on a 401 or a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub Verdict);

impl FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mark = match text {
            "forward" => return Ok(Self(Verdict::Forward)),
            "keep" => Mark::keep(),
            "suspect" => Mark::suspect(),
            "temporary" => Mark::temporary(None),
            "permanent" => Mark::permanent(),
            _ => match (text.parse(), similar(text, NAMES.into_iter())) {
                (Ok(Time(time)), _) => Mark::temporary(Some(time)),
                (Err(_), Some(other)) => return Err(format!("did you mean {other}?")),
                (Err(_), None) => {
                    let names = NAMES.join(", ");
                    return Err(format!("expected {names} or a time such as 30s"));
                }
            },
        };
        Ok(Self(Verdict::Failover(mark)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_a_cooldown() {
        let cooldown = Mark::temporary(Some(Duration::from_secs(30)));
        assert_eq!("30s".parse(), Ok(Refusal(Verdict::Failover(cooldown))));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_most_similar_one() {
        for (text, expected) in [
            ("permanant", "did you mean permanent?"),
            ("30", "expected forward, keep"),
            ("", "expected forward, keep"),
        ] {
            let error = text.parse::<Refusal>().unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
