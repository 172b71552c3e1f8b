//! What a request says about the choice of its key: its session, and its scope.

use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};
use tower_key_failover::policy::Scope;
use tower_key_failover::pool::{KeyChoice, Selection, session_id};

use crate::suggestion::similar;

/// The strategy of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy(pub Selection);

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = ["in_order", "round_robin", "weighted", "least_in_flight"];
        let selection = Selection::named(text).map(Self);
        selection.ok_or_else(|| match similar(text, names.into_iter()) {
            Some(other) => format!(
                "no such selection; did you mean {}?",
                other.replace('_', "-")
            ),
            None => "expected in-order, round-robin, weighted or least-in-flight".to_owned(),
        })
    }
}

/// Where the session of a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity(HeaderName);

impl FromStr for Affinity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        header(text)
            .map(Self)
            .ok_or_else(|| "expected header:NAME".to_owned())
    }
}

/// Where the scope of a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeSource {
    /// The path, or else the model in the body.
    Auto,
    Off,
    Header(HeaderName),
}

impl FromStr for ScopeSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, header(text)) {
            ("auto", _) => Ok(Self::Auto),
            ("off", _) => Ok(Self::Off),
            (_, Some(name)) => Ok(Self::Header(name)),
            _ => Err("expected auto, off or header:NAME".to_owned()),
        }
    }
}

fn header(text: &str) -> Option<HeaderName> {
    text.strip_prefix("header:")?.parse().ok()
}

/// What the headers say, or `None` if they say nothing.
pub fn of_headers(
    headers: &HeaderMap,
    affinity: Option<&Affinity>,
    scope: &ScopeSource,
) -> Option<KeyChoice> {
    let session = affinity.and_then(|Affinity(name)| headers.get(name));
    let scope = match scope {
        ScopeSource::Header(name) => headers.get(name).and_then(|value| value.to_str().ok()),
        ScopeSource::Auto | ScopeSource::Off => None,
    };
    // A value that cannot be a scope is ignored.
    let scope = scope.and_then(Scope::new);
    if session.is_none() && scope.is_none() {
        return None;
    }
    let mut choice = KeyChoice::new();
    if let Some(session) = session {
        choice = choice.affinity(session_id(session));
    }
    if let Some(scope) = scope {
        choice = choice.scope(scope);
    }
    Some(choice)
}
