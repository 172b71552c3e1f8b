//! Reads the list of keys from a file or from the environment.
//!
//! ```text
//! # the primary key
//! sk-ant-one                # a key without a label
//! team-a = sk-ant-two       # a key with a label
//!
//! [org-1]                   # a group: the keys of an organization share a limit
//! team-b = sk-ant-three
//! sk-ant-four
//!
//! []                        # ends the group
//! last = sk-ant-five
//! ```

use std::collections::HashMap;
use std::path::Path;

use axum::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::pool::{KeyPoolBuilder, NewKey};

use crate::bad_input::{BadInput, bad};
use crate::environment;

/// A key with its label and group.
#[derive(Debug)]
pub struct KeyEntry {
    key: SecretString,
    label: Option<String>,
    group: Option<String>,
}

impl KeyEntry {
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

impl From<KeyEntry> for NewKey {
    fn from(entry: KeyEntry) -> Self {
        let mut key = Self::new(entry.key);
        if let Some(label) = entry.label {
            key = key.label(label);
        }
        if let Some(group) = entry.group {
            key = key.group(group);
        }
        key
    }
}

/// Reads the keys of GATEWAY_KEYS, which are separated by commas.
pub fn from_environment() -> Result<Vec<KeyEntry>, BadInput> {
    let Some(text) = environment::variable("GATEWAY_KEYS")? else {
        return bad("no keys: set GATEWAY_KEYS or give --keys-file");
    };
    let keys = match text.expose_secret().trim() {
        "" => return Ok(Vec::new()),
        keys => keys.split(',').map(|key| KeyEntry {
            key: key.trim().into(),
            label: None,
            group: None,
        }),
    };
    Ok(keys.collect())
}

/// Reads the text of `--keys-file`. The error names the file and never its content.
pub fn read(file: &Path) -> Result<SecretString, BadInput> {
    let text = std::fs::read_to_string(file).map(SecretString::from);
    text.map_err(|error| BadInput(format!("{}: {error}", source(file))))
}

/// The name of the file in messages.
pub fn source(file: &Path) -> String {
    format!("--keys-file {}", file.display())
}

/// Parses the text of a keys file.
///
/// Errors never quote the text: any part of it may be a key.
pub fn parse(text: &SecretString) -> Result<Vec<KeyEntry>, BadInput> {
    let mut keys = Vec::new();
    let mut group = None;
    let (mut lines_of_keys, mut lines_of_labels) = (HashMap::new(), HashMap::new());
    let lines = text.expose_secret().trim_start_matches('\u{feff}').lines();
    for (number, line) in (1_usize..).zip(lines) {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        if line.starts_with('[') && !line.ends_with(']') {
            return bad(format!(
                "line {number}: a `[` without a `]` at the end of the line"
            ));
        }
        if let Some(name) = heading(line) {
            group = (!name.is_empty()).then(|| name.to_owned());
            continue;
        }
        let (label, key) = match labeled(line) {
            Some((label, _)) if label.bytes().all(|byte| byte.is_ascii_digit()) => {
                let why = "a label must not be empty or a number: numbers are positions";
                return bad(format!("line {number}: {why}"));
            }
            Some((label, key)) => (Some(label.to_owned()), key),
            None => (None, line),
        };
        if key.is_empty() {
            return bad(format!("line {number}: the key is empty"));
        }
        if HeaderValue::from_str(key).is_err() {
            return bad(format!(
                "line {number}: the key contains a character that a header cannot contain"
            ));
        }
        if let Some(other) = lines_of_keys.insert(key, number) {
            return bad(format!("line {number}: the same key is on line {other}"));
        }
        if let Some(label) = &label
            && let Some(other) = lines_of_labels.insert(label.clone(), number)
        {
            return bad(format!("line {number}: the same label is on line {other}"));
        }
        keys.push(KeyEntry {
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

/// Splits a line into label and key at the first `=` that is surrounded by white space. A key can
/// contain `=`, and base64 often ends with it.
fn labeled(line: &str) -> Option<(&str, &str)> {
    let at = line.match_indices('=').map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + 1..].chars().next();
        before.is_none_or(char::is_whitespace) && after.is_none_or(char::is_whitespace)
    })?;
    Some((line[..at].trim(), line[at + 1..].trim()))
}

/// Removes a comment. It starts with a `#` at the start of the line or after white space, because a
/// key can contain `#`.
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
