//! Reads the list of keys from a file, from a variable or from entries of the configuration file.
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
//! last = sk-ant-five weight=3 tier=2 max-in-flight=10 domain=cache-1
//! ```

use std::collections::HashMap;
use std::path::Path;

use axum::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::pool::{KeyPoolBuilder, NewKey};

use crate::bad_input::{BadInput, bad};
use crate::key_options::{self, KeyOptions};

/// A key with its label and group.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    key: SecretString,
    label: Option<String>,
    group: Option<String>,
    options: KeyOptions,
}

impl KeyEntry {
    pub fn add_to(&self, pool: KeyPoolBuilder) -> KeyPoolBuilder {
        let pool = match &self.label {
            Some(label) => pool.labeled_key(label, self.key.clone()),
            None => pool.key(self.key.clone()),
        };
        let pool = match &self.group {
            Some(group) => pool.group(group),
            None => pool,
        };
        self.options.add_to(pool)
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
        entry.options.apply(key)
    }
}

/// The keys of a variable, which are separated by commas.
pub fn separated_by_commas(text: &SecretString) -> Vec<KeyEntry> {
    let text = text.expose_secret().trim();
    let keys = text.split(',').filter(|_| !text.is_empty());
    let keys = keys.map(|key| KeyEntry {
        key: key.trim().into(),
        label: None,
        group: None,
        options: KeyOptions::default(),
    });
    keys.collect()
}

/// Reads the text of a keys file. The error does not contain the path, because a key could be in its place.
pub fn read(file: &Path) -> Result<SecretString, BadInput> {
    let text = std::fs::read_to_string(file).map(SecretString::from);
    text.map_err(|error| BadInput(format!("cannot be read: {error}")))
}

/// Parses the text of a keys file. Errors name the line.
pub fn parse(text: &SecretString) -> Result<Vec<KeyEntry>, BadInput> {
    let text = text.expose_secret().trim_start_matches('\u{feff}');
    parse_lines("line", text.lines())
}

/// Parses entries of a list. Each is like a line of a keys file.
pub fn parse_entries(entries: &[SecretString]) -> Result<Vec<KeyEntry>, BadInput> {
    let lines = entries.iter().map(|entry| entry.expose_secret());
    parse_lines("entry", lines)
}

fn parse_lines<'a>(
    unit: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<KeyEntry>, BadInput> {
    let (mut keys, mut group) = (Vec::new(), None);
    let (mut of_keys, mut of_labels) = (HashMap::new(), HashMap::new());
    for (number, line) in (1_usize..).zip(lines) {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        if line.starts_with('[') && !line.ends_with(']') {
            return bad(format!(
                "{unit} {number}: a `[` without a `]` at the end of the {unit}"
            ));
        }
        if line.ends_with(']') && !line.starts_with('[') {
            return bad(format!("{unit} {number}: a `]` without a `[`"));
        }
        if let Some(name) = heading(line) {
            group = (!name.is_empty()).then(|| name.to_owned());
            continue;
        }
        let (label, key) = match labeled(line) {
            Some((label, _)) if label.bytes().all(|byte| byte.is_ascii_digit()) => {
                let why = "a label must not be empty or a number: numbers are positions";
                return bad(format!("{unit} {number}: {why}"));
            }
            Some((label, key)) => match key_options::at_end_of(label) {
                Some(option) => {
                    return bad(format!(
                        "{unit} {number}: write {option}=VALUE without white space"
                    ));
                }
                None => (Some(label.to_owned()), key),
            },
            None => (None, line),
        };
        let mut words = key.split_whitespace();
        let key = words.next().unwrap_or_default();
        let options = KeyOptions::parse(words);
        let options = options.map_err(|what| BadInput(format!("{unit} {number}: {what}")))?;
        if key.is_empty() {
            return bad(format!("{unit} {number}: the key is empty"));
        }
        if HeaderValue::from_str(key).is_err() {
            return bad(format!(
                "{unit} {number}: the key contains a character that a header cannot contain"
            ));
        }
        if let Some(other) = of_keys.insert(key, number) {
            return bad(format!(
                "{unit} {number}: the same key is on {unit} {other}"
            ));
        }
        if let Some(label) = &label
            && let Some(other) = of_labels.insert(label.clone(), number)
        {
            return bad(format!(
                "{unit} {number}: the same label is on {unit} {other}"
            ));
        }
        keys.push(KeyEntry {
            key: key.into(),
            label,
            group: group.clone(),
            options,
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
