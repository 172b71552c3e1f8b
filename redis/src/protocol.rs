//! What the scripts and the messages of the server contain.

use redis::Value;

use crate::names::Sealed;
use crate::record::{GREATEST_NUMBER, Record, Told};
use crate::replica::Push;

/// Which data set of the server, and how often it had changed. Both are empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    nonce: Vec<u8>,
    number: u64,
}

/// What the server returned to a pull.
pub(crate) struct Pulled {
    pub(crate) now: u64,
    pub(crate) version: Version,
    /// `None` if nothing changed.
    pub(crate) records: Option<Vec<Told>>,
}

/// What the server returned to a push.
pub(crate) struct Merged {
    pub(crate) now: u64,
    pub(crate) version: Version,
    /// The server's record for each one that was sent.
    pub(crate) winners: Vec<Option<Record>>,
}

/// What the server tells all replicas.
pub(crate) struct Message {
    pub(crate) now: u64,
    pub(crate) version: Version,
    pub(crate) records: Vec<Told>,
}

/// A reply that no script of this crate returns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadReply {
    /// The key holds something that is not ours.
    Foreign,
    Malformed,
}

impl Version {
    /// Whether only the change that led to `next` happened in between.
    pub(crate) fn precedes(&self, next: &Self) -> bool {
        let is_same = self.nonce == next.nonce || self.number == 0;
        is_same && self.number + 1 == next.number
    }

    pub(crate) fn includes(&self, other: &Self) -> bool {
        self.nonce == other.nonce && self.number >= other.number
    }

    pub(crate) fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Pulled {
    pub(crate) fn parse(reply: Value) -> Result<Self, BadReply> {
        let (now, version, rest) = head(reply)?;
        let records = rest.map(|fields| {
            let pairs = fields.chunks_exact(2);
            let pairs = pairs.filter_map(|pair| Told::parse(bytes(&pair[0])?, bytes(&pair[1])?));
            pairs.collect()
        });
        Ok(Self {
            now,
            version,
            records,
        })
    }
}

impl Merged {
    pub(crate) fn parse(reply: Value) -> Result<Self, BadReply> {
        let (now, version, rest) = head(reply)?;
        let winners = rest.ok_or(BadReply::Malformed)?;
        let winners = winners.iter().map(|winner| Record::parse(bytes(winner)?));
        Ok(Self {
            now,
            version,
            winners: winners.collect(),
        })
    }
}

impl Message {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut words = lines.next()?.split(|byte| *byte == b' ');
        let nonce = words.next()?.to_vec();
        let number = number(words.next()?)?;
        let now = self::number(words.next()?)?;
        let records = lines.filter_map(|line| {
            let space = line.iter().position(|byte| *byte == b' ')?;
            Told::parse(&line[..space], &line[space + 1..])
        });
        Some(Self {
            now,
            version: Version { nonce, number },
            records: records.collect(),
        })
    }
}

/// Adds the arguments of the merge script for one record.
pub(crate) fn add_push(script: &mut redis::ScriptInvocation<'_>, push: &Push) {
    script
        .arg(push.name.to_string())
        .arg(push.epoch)
        .arg(push.left)
        .arg(push.age)
        .arg(push.kind)
        .arg(push.reason.as_str())
        .arg(
            push.sealed
                .as_ref()
                .map_or_else(String::new, Sealed::to_string),
        );
}

fn head(reply: Value) -> Result<(u64, Version, Option<Vec<Value>>), BadReply> {
    let Value::Array(items) = reply else {
        return Err(BadReply::Malformed);
    };
    let mut items = items.into_iter();
    let mut text = || match items.next() {
        Some(Value::BulkString(text)) => Some(text),
        Some(Value::SimpleString(text)) => Some(text.into_bytes()),
        _ => None,
    };
    let first = text().ok_or(BadReply::Malformed)?;
    if first == b"foreign" {
        return Err(BadReply::Foreign);
    }
    let mut rest = || {
        let now = number(&first)?;
        let nonce = text()?;
        let number = number(&text()?)?;
        Some((now, Version { nonce, number }))
    };
    let (now, version) = rest().ok_or(BadReply::Malformed)?;
    let rest = match items.next() {
        None => None,
        Some(Value::Array(items)) => Some(items),
        Some(_) => return Err(BadReply::Malformed),
    };
    Ok((now, version, rest))
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= GREATEST_NUMBER).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_ours_is_ignored() {
        for text in ["", "hello", "nonce 1", "nonce one 2", "\n\n"] {
            assert!(Message::parse(text.as_bytes()).is_none(), "{text}");
        }
        let text = "n 3 1763740000000\nnot a record\nname 0 0 0 c other";
        let message = Message::parse(text.as_bytes()).unwrap();
        assert!(message.records.is_empty());
    }

    #[test]
    fn a_gap_between_versions_is_noticed() {
        let version = |nonce: &str, number| Version {
            nonce: nonce.into(),
            number,
        };
        assert!(version("a", 1).precedes(&version("a", 2)));
        assert!(version("", 0).precedes(&version("a", 1)));
        assert!(!version("a", 1).precedes(&version("a", 3)));
        assert!(!version("a", 1).precedes(&version("b", 2)));
        assert!(version("a", 2).includes(&version("a", 1)));
        assert!(!version("b", 2).includes(&version("a", 1)));
    }
}
