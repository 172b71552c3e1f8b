//! The options after a key in a keys file: `weight=N tier=N max-in-flight=N domain=NAME`.

use tower_key_failover::pool::{KeyPoolBuilder, NewKey};

use crate::suggestion::similar;

const NAMES: [&str; 4] = ["weight", "tier", "max-in-flight", "domain"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyOptions {
    weight: Option<u32>,
    tier: Option<u32>,
    max_in_flight: Option<u32>,
    domain: Option<String>,
}

impl KeyOptions {
    /// Parses options that are separated by white space. No error contains a value, because it may be a
    /// part of a key.
    pub fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut parsed = Self::default();
        for option in options {
            let Some((name, value)) = option.split_once('=') else {
                return Err("a key contains no white space, and an option is NAME=VALUE".to_owned());
            };
            let is_repeated = match name {
                "weight" => parsed.weight.replace(number(name, value)?).is_some(),
                "tier" => parsed.tier.replace(number(name, value)?).is_some(),
                "max-in-flight" => parsed.max_in_flight.replace(number(name, value)?).is_some(),
                "domain" if value.is_empty() => return Err("domain is empty".to_owned()),
                "domain" => parsed.domain.replace(value.to_owned()).is_some(),
                _ => return Err(unknown(name)),
            };
            if is_repeated {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(parsed)
    }

    /// Applies them to the last key of a pool.
    pub fn add_to(&self, mut pool: KeyPoolBuilder) -> KeyPoolBuilder {
        if let Some(weight) = self.weight {
            pool = pool.weight(weight);
        }
        if let Some(tier) = self.tier {
            pool = pool.tier(tier);
        }
        if let Some(requests) = self.max_in_flight {
            pool = pool.max_in_flight(requests);
        }
        match &self.domain {
            Some(name) => pool.cache_domain(name),
            None => pool,
        }
    }

    pub fn apply(self, mut key: NewKey) -> NewKey {
        if let Some(weight) = self.weight {
            key = key.weight(weight);
        }
        if let Some(tier) = self.tier {
            key = key.tier(tier);
        }
        if let Some(requests) = self.max_in_flight {
            key = key.max_in_flight(requests);
        }
        match self.domain {
            Some(name) => key.cache_domain(name),
            None => key,
        }
    }
}

/// The option that a label ends with, if somebody wrote `KEY weight = 3`.
pub fn at_end_of(label: &str) -> Option<&'static str> {
    let (_, last) = label.rsplit_once(char::is_whitespace)?;
    NAMES.into_iter().find(|name| *name == last)
}

fn number(name: &str, value: &str) -> Result<u32, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    let number = number.filter(|number| name != "weight" || *number <= 1_000);
    number.ok_or_else(|| match name {
        "weight" => "weight is a number from 1 to 1000".to_owned(),
        _ => format!("{name} is a number from 1"),
    })
}

fn unknown(name: &str) -> String {
    // The others are written with dashes.
    let similar = similar(
        name,
        ["weight", "tier", "max_in_flight", "domain"].into_iter(),
    );
    match similar {
        Some(other) => format!("unknown option; did you mean {}?", other.replace('_', "-")),
        None => format!("unknown option; the options are {}", NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeyOptions, String> {
        KeyOptions::parse(text.split_whitespace())
    }

    #[test]
    fn options_are_read_in_any_order() {
        assert_eq!(
            parse("domain=a=b tier=2 max-in-flight=7 weight=1000"),
            Ok(KeyOptions {
                weight: Some(1_000),
                tier: Some(2),
                max_in_flight: Some(7),
                domain: Some("a=b".to_owned()),
            })
        );
        assert_eq!(parse(""), Ok(KeyOptions::default()));
    }

    #[test]
    fn odd_options_are_rejected_without_their_values() {
        for (text, expected) in [
            ("canary", "white space"),
            ("weight=0", "from 1 to 1000"),
            ("weight=1001", "from 1 to 1000"),
            ("weight=-1", "from 1 to 1000"),
            ("weight=canary", "from 1 to 1000"),
            ("tier=0", "tier is a number from 1"),
            ("max-in-flight=99999999999", "max-in-flight is a number"),
            ("domain=", "domain is empty"),
            ("tier=1 tier=2", "tier is given twice"),
            ("wieght=canary", "did you mean weight?"),
            ("max_in_flight=1", "did you mean max-in-flight?"),
            ("canary=1", "the options are weight, tier"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
    }
}
