//! The keys as people write them down: in a file, or in the environment.
//!
//! ```text
//! # the primary
//! sk-ant-one                # a key by itself
//! team-a = sk-ant-two       # a key with a label
//!
//! [org-1]                   # keys of one organisation, which share a limit
//! team-b = sk-ant-three
//! sk-ant-four
//!
//! []                        # keys of no group, again
//! last = sk-ant-five
//! ```

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::pool::{KeyPoolBuilder, NewKey};

use crate::config::{BadInput, bad, environment};

/// A key, and what is said of it.
#[derive(Debug)]
pub struct Listed {
    key: SecretString,
    label: Option<String>,
    group: Option<String>,
}

impl Listed {
    pub fn add_to(self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        let pool = match self.label {
            Some(label) => pool.labeled_key(label, self.key),
            None => pool.key(self.key),
        };
        match self.group {
            Some(group) => pool.group(group),
            None => pool,
        }
    }
}

impl From<Listed> for NewKey {
    fn from(listed: Listed) -> Self {
        let mut key = Self::new(listed.key);
        if let Some(label) = listed.label {
            key = key.label(label);
        }
        if let Some(group) = listed.group {
            key = key.group(group);
        }
        key
    }
}

/// The keys of GATEWAY_KEYS, separated by commas.
pub fn from_environment() -> Result<Vec<Listed>, BadInput> {
    let Some(text) = environment("GATEWAY_KEYS")? else {
        return bad("no keys: set GATEWAY_KEYS or give --keys-file");
    };
    let keys = match text.expose_secret().trim() {
        "" => return Ok(Vec::new()),
        keys => keys.split(',').map(|key| Listed {
            key: key.trim().into(),
            label: None,
            group: None,
        }),
    };
    Ok(keys.collect())
}

/// What `--keys-file` holds. The message names the file, and nothing that is in it.
pub fn read(file: &Path) -> Result<SecretString, BadInput> {
    let text = std::fs::read_to_string(file).map(SecretString::from);
    text.map_err(|error| BadInput(format!("{}: {error}", source(file))))
}

/// Where a message says that keys of a file come from.
pub fn source(file: &Path) -> String {
    format!("--keys-file {}", file.display())
}

/// The keys of a file's text. No message shows a key: what is no key by its place may yet be one.
pub fn parse(text: &SecretString) -> Result<Vec<Listed>, BadInput> {
    let mut keys = Vec::new();
    let mut group = None;
    let lines = text.expose_secret().trim_start_matches('\u{feff}').lines();
    for (number, line) in (1..).zip(lines) {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        if let Some(name) = heading(line) {
            group = (!name.is_empty()).then(|| name.to_owned());
            continue;
        }
        let (label, key) = match labeled(line) {
            Some((label, _)) if label.bytes().all(|byte| byte.is_ascii_digit()) => {
                let why = "a label is missing or a number, which is what positions are";
                return bad(format!("line {number}: {why}"));
            }
            Some((label, key)) => (Some(label.to_owned()), key),
            None => (None, line),
        };
        keys.push(Listed {
            key: key.into(),
            label,
            group: group.clone(),
        });
    }
    Ok(keys)
}

fn heading(line: &str) -> Option<&str> {
    Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
}

/// A label and its key, where white space is around the `=` between them: a key may hold one, and
/// many end with some.
fn labeled(line: &str) -> Option<(&str, &str)> {
    let at = line.match_indices('=').map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + 1..].chars().next();
        before.is_none_or(char::is_whitespace) && after.is_none_or(char::is_whitespace)
    })?;
    Some((line[..at].trim(), line[at + 1..].trim()))
}

/// A comment begins at a `#` that starts the line or follows white space: a key may hold one.
fn without_comment(line: &str) -> &str {
    let comment = line.char_indices().find(|&(at, character)| {
        character == '#'
            && line[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    });
    line[..comment.map_or(line.len(), |(at, _)| at)].trim()
}
