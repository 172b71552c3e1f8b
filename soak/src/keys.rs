//! The keys of an upstream, its responses to each key, and the states that these explain.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::in_flight::{CAP, InFlight};
use crate::random::Random;

/// How long a classification can take: reading the body takes up to a second, more on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// How long a key is not used in a scope after a refusal of the model.
const ACCESS_MARK: Duration = Duration::from_secs(600);

/// How long an attempt can take to arrive at the upstream.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// The routes of each gateway. Limits of the second one apply to scopes.
pub const ROUTES: [&str; 2] = ["whole", "scoped"];

/// The scopes that requests name.
pub const SCOPES: [&str; 3] = ["model-0", "model-1", "model-2"];

/// The route of a request or a key with this number.
pub fn route_of(number: u64) -> &'static str {
    ROUTES[number as usize % ROUTES.len()]
}

/// The scope of a request.
pub fn scope_of(number: u64) -> &'static str {
    SCOPES[number as usize / ROUTES.len() % SCOPES.len()]
}

#[derive(Debug)]
pub struct Keys {
    pub all: Vec<SoakKey>,
}

#[derive(Debug)]
pub struct SoakKey {
    pub secret: String,
    pub route: &'static str,
    /// `None` for keys that only ever get short rate limits.
    end: Option<(Instant, End)>,
    weight: u32,
    pub in_flight: InFlight,
    said: Mutex<Said>,
}

/// How a key becomes unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Revoked,
    Forbidden,
    /// A rate limit without a duration: the default of 60 s applies.
    Limited,
    /// An exhausted quota: the default of 1 h applies.
    Quota,
}

#[derive(Clone, Copy, Debug, Default)]
struct Said {
    permanent: bool,
    /// The last refusal of a model.
    model: Option<Instant>,
    until: Option<Instant>,
    /// Removed or disabled by an operator, and since when no attempt may start with it.
    gone: bool,
    returned: Option<Instant>,
    gone_since: Option<Instant>,
}

impl Keys {
    /// Keys that become unusable one after another during the run, and a few that stay valid.
    pub fn new(lane: &str, seed: u64, run: Duration) -> Self {
        const MORTAL: u32 = 16;
        const STURDY: u32 = 8;
        const ENDS: [End; 4] = [End::Revoked, End::Limited, End::Forbidden, End::Quota];

        let start = Instant::now();
        let key = |position: u32| {
            let mut random = Random::of([seed, lane.len() as u64, u64::from(position)]);
            let end = (position < MORTAL).then(|| {
                let at = start + run * (position + 1) / (MORTAL + 1);
                (at, ENDS[position as usize % ENDS.len()])
            });
            SoakKey {
                route: route_of(position.into()),
                secret: format!("soak-{lane}-{:016x}-{position:04}", random.next()),
                end,
                weight: 1 + position % 3,
                in_flight: InFlight::default(),
                said: Mutex::default(),
            }
        };
        Self {
            all: (0..MORTAL + STURDY).map(key).collect(),
        }
    }

    /// The text of the keys file of a route, without the key to remove.
    pub fn file(&self, route: &str, removed: Option<&SoakKey>) -> String {
        let is_removed = |key: &SoakKey| removed.is_some_and(|it| it.secret == key.secret);
        let of_route = self.all.iter().filter(|key| key.route == route);
        let kept = of_route.filter(|key| !is_removed(key));
        let line = |key: &SoakKey| {
            let (secret, weight) = (&key.secret, key.weight);
            format!("{secret} max-in-flight={CAP} weight={weight}\n")
        };
        kept.map(line).collect()
    }

    /// Checks caps when all requests have ended, and returns violations.
    pub fn in_flight(&self, told: &Value) -> Vec<String> {
        let told = told.as_array().map_or(&[][..], Vec::as_slice);
        let leaked = told.iter().filter(|told| told["in_flight"] != 0);
        let leaked = leaked.map(|told| format!("a request is still in flight: {told}"));
        let exceeded = self
            .all
            .iter()
            .filter(|key| key.in_flight.has_exceeded_cap());
        let exceeded = exceeded.map(|key| format!("more requests than the cap allows: {key:?}"));
        leaked.chain(exceeded).collect()
    }

    /// The most requests that used one key at the same time.
    pub fn most_in_flight(&self) -> u32 {
        let most = self.all.iter().map(|key| key.in_flight.most());
        most.max().unwrap_or_default()
    }

    pub fn find(&self, secret: &str) -> Option<&SoakKey> {
        self.all.iter().find(|key| key.secret == secret)
    }

    /// Checks the states that the gateway showed at that time, and returns violations. At the end, every
    /// key that ends must be marked.
    pub fn unexplained(&self, told: &Value, asked: Instant, at_the_end: bool) -> Vec<String> {
        let told = told.as_array().map_or(&[][..], Vec::as_slice);
        let mut wrong = Vec::new();
        for key in &self.all {
            let mut told = told.iter().filter(|told| key.is_shown_by(told));
            let (Some(told), None) = (told.next(), told.next()) else {
                if !key.was_gone(asked) {
                    wrong.push(format!("not shown, or twice: {key:?}"));
                }
                continue;
            };
            let is_explained = match at_the_end {
                true => key.ended_as(told, asked),
                false => key.may_be(told, asked),
            };
            if !is_explained {
                wrong.push(format!("unexplained: {told} of {key:?}"));
            }
        }
        if told.len() > self.all.len() {
            wrong.push(format!("{} keys are shown", told.len()));
        }
        wrong
    }
}

impl SoakKey {
    /// How the key became unusable, if it did.
    pub fn ended(&self) -> Option<End> {
        let (at, how) = self.end?;
        (Instant::now() >= at).then_some(how)
    }

    /// Whether the key only ever gets short rate limits.
    pub fn is_sturdy(&self) -> bool {
        self.end.is_none()
    }

    /// The hint of the key, which ends with its position.
    pub fn hint(&self) -> String {
        let (start, end) = (&self.secret[..4], &self.secret[self.secret.len() - 4..]);
        format!("{start}...{end}")
    }

    pub fn is_shown_by(&self, told: &Value) -> bool {
        told["hint"] == self.hint() && told["pool"] == self.route
    }

    /// Recorded before the response is sent.
    pub fn says_permanent(&self) {
        self.said().permanent = true;
    }

    pub fn says_model_refused(&self) {
        self.said().model = Some(Instant::now());
    }

    pub fn says_limited(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut said = self.said();
        said.until = said.until.max(Some(until));
    }

    /// An operator is about to remove or disable the key.
    pub fn goes(&self) {
        self.said().gone = true;
    }

    /// The gateway has applied the change.
    pub fn is_known_to_be_gone(&self) {
        self.said().gone_since = Some(Instant::now());
    }

    /// An operator is about to add or reinstate the key, which clears its earlier refusals.
    pub fn returns(&self) {
        self.said().gone_since = None;
    }

    /// The gateway has applied that change.
    pub fn has_returned(&self) {
        let mut said = self.said();
        said.gone = false;
        said.returned = Some(Instant::now());
    }

    fn was_gone(&self, when: Instant) -> bool {
        let said = self.said();
        said.gone || said.returned > Some(when)
    }

    /// Whether an attempt that arrives now started with a removed or disabled key.
    pub fn should_be_unused(&self) -> bool {
        let since = self.said().gone_since;
        since.is_some_and(|since| Instant::now() > since + ON_THE_WAY)
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the responses explain the state. Valid is always possible, because a response may have
    /// been lost.
    fn may_be(&self, told: &Value, asked: Instant) -> bool {
        let said = *self.said();
        let is_over_by = |told: &Value, until: Option<Instant>| {
            let wait = Duration::from_millis(told["retry_after_ms"].as_u64().unwrap_or(0));
            until.is_some_and(|until| Instant::now() + wait <= until + SLACK)
        };
        let is_limited = |told: &Value| is_over_by(told, said.until);
        let is_refused = |told: &Value| is_over_by(told, said.model.map(|at| at + ACCESS_MARK));
        let mut scopes = scopes(told);
        let are_scopes_explained = scopes.all(|scope| {
            let name = scope["scope"].as_str().unwrap_or_default();
            let is_explained = is_limited(scope) || is_refused(scope);
            self.route == ROUTES[1] && SCOPES.contains(&name) && is_explained
        });
        let is_explained = match told["state"].as_str() {
            Some("valid") => true,
            Some("permanent") => said.permanent || self.was_gone(asked),
            Some("temporary") => is_limited(told),
            _ => false,
        };
        is_explained && are_scopes_explained
    }

    /// Like [`Self::may_be`], after all refusals were repeated and none was lost.
    fn ended_as(&self, told: &Value, asked: Instant) -> bool {
        let state = &told["state"];
        let has_ended = match self.end {
            // A key that worked before stays suspected while only requests without another key use
            // it: none of them can succeed with another one, which would convict it.
            Some((_, End::Revoked | End::Forbidden)) => {
                // A scope whose access was refused is not used for a while.
                let is_spared = scopes(told).next().is_some();
                state == "permanent" || state == "valid" && (told["suspicions"] != 0 || is_spared)
            }
            Some((_, End::Limited | End::Quota)) => {
                state == "temporary" || scopes(told).next().is_some()
            }
            None => state == "valid",
        };
        has_ended && self.may_be(told, asked)
    }
}

/// The scopes in which a key is marked.
fn scopes(told: &Value) -> impl Iterator<Item = &Value> {
    told["scopes"].as_array().into_iter().flatten()
}
