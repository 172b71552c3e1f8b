//! Whether the upstream's responses explain the states of the keys that a replica shows.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::key::{End, Life, SoakKey};
use crate::keys::{Keys, ROUTES, SCOPES};

/// How long a classification can take: reading the body takes up to a second, more on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// How long a key is not used in a scope after a refusal of the model.
const ACCESS_MARK: Duration = Duration::from_secs(600);

/// For how long requests of a key that were dropped can still count, and a hundredth of the run: until the upstream
/// sees their connections close.
const CLOSING_TIME: Duration = Duration::from_millis(500);

/// What a replica showed when it was asked.
pub struct Shown<'a> {
    pub replica: usize,
    pub keys: &'a [Value],
    pub asked: Instant,
}

impl Shown<'_> {
    /// Returns states that nothing explains. At the end, every key that ends must be marked.
    pub fn unexplained(&self, keys: &Keys, at_the_end: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for key in &keys.all {
            let mut told = self.keys.iter().filter(|told| key.is_shown_by(told));
            let (Some(told), None) = (told.next(), told.next()) else {
                if !key.was_gone(self.asked) {
                    wrong.push(format!("not shown, or twice: {key:?}"));
                }
                continue;
            };
            let is_explained = match at_the_end {
                true => self.ended_as(key, told),
                false => self.may_be(key, told),
            };
            if !is_explained {
                wrong.push(format!("unexplained: {told} of {key:?}"));
            }
        }
        if self.keys.len() > keys.all.len() {
            wrong.push(format!("{} keys are shown", self.keys.len()));
        }
        wrong
    }

    /// Checks caps when all requests have ended, and returns violations.
    pub fn in_flight(&self, keys: &Keys) -> Vec<String> {
        let leaked = self.keys.iter().filter(|told| told["in_flight"] != 0);
        let leaked = leaked.map(|told| format!("a request is still in flight: {told}"));
        let exceeded = keys
            .all
            .iter()
            .filter(|key| key.in_flight[self.replica].above() > CLOSING_TIME + keys.run / 100);
        let exceeded = exceeded.map(|key| format!("more requests than the cap allows: {key:?}"));
        leaked.chain(exceeded).collect()
    }

    /// Whether the responses explain the state. Rate limits apply to all replicas, refusals of the key or
    /// the model only to the one that got them. Valid is always possible, because a response may have been
    /// lost.
    fn may_be(&self, key: &SoakKey, told: &Value) -> bool {
        let said = key.said().to[self.replica];
        let is_over_by = |told: &Value, until: Option<Instant>| {
            let wait = Duration::from_millis(told["retry_after_ms"].as_u64().unwrap_or(0));
            until.is_some_and(|until| Instant::now() + wait <= until + SLACK)
        };
        let is_limited = |told: &Value| is_over_by(told, key.limited_until());
        let is_refused = |told: &Value| is_over_by(told, said.model.map(|at| at + ACCESS_MARK));
        let mut scopes = scopes(told);
        let are_scopes_explained = scopes.all(|scope| {
            let name = scope["scope"].as_str().unwrap_or_default();
            let is_explained = is_limited(scope) || is_refused(scope);
            key.route == ROUTES[1] && SCOPES.contains(&name) && is_explained
        });
        let is_explained = match told["state"].as_str() {
            Some("valid") => true,
            Some("permanent") => said.is_permanent || key.was_gone(self.asked),
            Some("temporary") => is_limited(told),
            _ => false,
        };
        is_explained && are_scopes_explained
    }

    /// Like [`Self::may_be`], after all refusals were repeated and none was lost.
    fn ended_as(&self, key: &SoakKey, told: &Value) -> bool {
        let state = &told["state"];
        let has_ended = match key.life {
            // A key that worked before stays suspected while only requests without another key use
            // it: none of them can succeed with another one, which would convict it.
            Life::Until(_, End::Revoked | End::Forbidden) => {
                // A scope whose access was refused is not used for a while.
                let is_spared = scopes(told).next().is_some();
                state == "permanent" || state == "valid" && (told["suspicions"] != 0 || is_spared)
            }
            Life::Until(_, End::Limited | End::Quota) | Life::UntilCalm => {
                // Replicas do not share short extensions of a limit.
                let is_over = key.limited_until() <= Some(Instant::now() + SLACK);
                state == "temporary" || scopes(told).next().is_some() || is_over
            }
            Life::Endless => state == "valid",
        };
        has_ended && self.may_be(key, told)
    }
}

/// The scopes in which a key is marked.
pub fn scopes(told: &Value) -> impl Iterator<Item = &Value> {
    told["scopes"].as_array().into_iter().flatten()
}
