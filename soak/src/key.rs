//! A key, and what the upstream and the operators have said about it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::in_flight::InFlight;
use crate::keys::{REPLICAS, ROUTES, SCOPES};

/// How long an attempt can take to arrive at the upstream.
const ON_THE_WAY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct SoakKey {
    pub secret: String,
    pub route: &'static str,
    pub group: Option<&'static str>,
    pub life: Life,
    pub weight: u32,
    /// Of each replica.
    pub in_flight: [InFlight; REPLICAS],
    said: Mutex<Said>,
    /// When the last rate limit of the key or its group ends.
    limit: Arc<Limit>,
}

pub type Limit = Mutex<Option<Instant>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Until(Instant, End),
    /// The calm phase begins with a rate limit, of one scope only if limits apply to scopes.
    UntilCalm,
    Endless,
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
pub struct Said {
    /// To each replica.
    pub to: [Refused; REPLICAS],
    /// Removed or disabled by an operator, and since when no attempt may start with it.
    gone: bool,
    returned: Option<Instant>,
    gone_since: Option<Instant>,
}

/// Refusals that apply to the replica that got them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    pub is_permanent: bool,
    /// The last refusal of a model.
    pub model: Option<Instant>,
}

impl SoakKey {
    pub fn new(
        secret: String,
        route: &'static str,
        group: Option<&'static str>,
        life: Life,
        weight: u32,
        limit: Arc<Limit>,
    ) -> Self {
        Self {
            secret,
            route,
            group,
            life,
            weight,
            in_flight: Default::default(),
            said: Mutex::default(),
            limit,
        }
    }

    /// How the key became unusable in this scope, if it did.
    pub fn ended(&self, is_calm: bool, scope: &str) -> Option<End> {
        match self.life {
            Life::Until(at, how) => (Instant::now() >= at).then_some(how),
            Life::UntilCalm => {
                let is_limited = self.route == ROUTES[0] || scope == SCOPES[0];
                (is_calm && is_limited).then_some(End::Limited)
            }
            Life::Endless => None,
        }
    }

    /// Whether the key only gets short rate limits before the calm phase.
    pub fn is_sturdy(&self) -> bool {
        !matches!(self.life, Life::Until(..))
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
    pub fn says_permanent(&self, replica: usize) {
        self.lock().to[replica].is_permanent = true;
    }

    pub fn says_model_refused(&self, replica: usize) {
        self.lock().to[replica].model = Some(Instant::now());
    }

    /// A rate limit applies to the group of the key, and to all replicas.
    pub fn says_limited(&self, wait: Duration) {
        let until = Some(Instant::now() + wait);
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        *limit = until.max(*limit);
    }

    pub fn limited_until(&self) -> Option<Instant> {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_forgotten_by(&self, replica: usize) {
        self.lock().to[replica] = Refused::default();
    }

    /// An operator is about to remove or disable the key.
    pub fn goes(&self) {
        self.lock().gone = true;
    }

    /// All replicas have applied the change.
    pub fn is_known_to_be_gone(&self) {
        self.lock().gone_since = Some(Instant::now());
    }

    /// An operator is about to add or reinstate the key, which clears its earlier refusals.
    pub fn returns(&self) {
        self.lock().gone_since = None;
    }

    /// All replicas have applied that change.
    pub fn has_returned(&self) {
        let mut said = self.lock();
        said.gone = false;
        said.returned = Some(Instant::now());
    }

    pub fn was_gone(&self, when: Instant) -> bool {
        let said = self.lock();
        said.gone || said.returned > Some(when)
    }

    /// Whether an attempt that arrives now started with a removed or disabled key.
    pub fn should_be_unused(&self) -> bool {
        let since = self.lock().gone_since;
        since.is_some_and(|since| Instant::now() > since + ON_THE_WAY)
    }

    pub fn said(&self) -> Said {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
