//! The keys of an upstream: which there are, and which route and group they belong to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::in_flight::InFlight;
use crate::key::{End, Life, SoakKey};
use crate::random::Random;

/// How many replicas share the limits of the keys.
pub const REPLICAS: usize = 2;

/// The routes of each gateway. Limits of the second one apply to scopes.
pub const ROUTES: [&str; 2] = ["whole", "scoped"];

/// The scopes that requests name.
pub const SCOPES: [&str; 3] = ["model-0", "model-1", "model-2"];

/// The cap of each key, in each replica.
pub const CAP: u32 = 1;

/// How many keys of a route become unusable one after another during the run.
const MORTAL: u32 = 8;
/// How many more only get short rate limits until the calm phase. The first of them ends with that.
const STURDY: u32 = 4;

const ENDS: [End; 4] = [End::Revoked, End::Limited, End::Forbidden, End::Quota];

/// The route of a request or a key with this number.
pub fn route_of(number: u64) -> &'static str {
    ROUTES[number as usize % ROUTES.len()]
}

/// The scope of a request.
pub fn scope_of(number: u64) -> &'static str {
    SCOPES[number as usize / ROUTES.len() % SCOPES.len()]
}

/// The replica that a request prefers.
pub fn replica_of(number: u64) -> usize {
    number as usize / ROUTES.len() / SCOPES.len() % REPLICAS
}

/// The group of a key, by its rank in its route. The keys of a group end in the same way.
fn group_of(rank: u32) -> Option<&'static str> {
    match rank {
        1 | 5 => Some("soak-org-1"),
        10 | 11 => Some("soak-org-2"),
        _ => None,
    }
}

#[derive(Debug)]
pub struct Keys {
    pub run: Duration,
    pub all: Vec<SoakKey>,
}

impl Keys {
    pub fn new(lane: &str, seed: u64, run: Duration) -> Self {
        let start = Instant::now();
        let count = (MORTAL + STURDY) * ROUTES.len() as u32;
        let mut limits = HashMap::new();
        let key = |position: u32| {
            let (route, rank) = (route_of(position.into()), position / ROUTES.len() as u32);
            let life = match rank {
                0..MORTAL => {
                    let at = start + run * (rank + 1) / (MORTAL + 1);
                    Life::Until(at, ENDS[rank as usize % ENDS.len()])
                }
                MORTAL => Life::UntilCalm,
                _ => Life::Endless,
            };
            let group = group_of(rank);
            // A group has one limit.
            let limit: Arc<_> = match group {
                Some(group) => Arc::clone(limits.entry((route, group)).or_default()),
                None => Arc::default(),
            };
            let mut random = Random::of([seed, lane.len() as u64, u64::from(position)]);
            let secret = format!("soak-{lane}-{:016x}-{position:04}", random.next());
            SoakKey::new(secret, route, group, life, 1 + position % 3, limit)
        };
        Self {
            run,
            all: (0..count).map(key).collect(),
        }
    }

    /// The text of the keys file of a route, without the key to remove.
    pub fn file(&self, route: &str, removed: Option<&SoakKey>) -> String {
        let is_removed = |key: &SoakKey| removed.is_some_and(|it| it.secret == key.secret);
        let of_route = self.all.iter().filter(|key| key.route == route);
        let kept = of_route.filter(|key| !is_removed(key));
        let line = |key: &SoakKey| {
            let group = key.group.unwrap_or_default();
            let (secret, weight) = (&key.secret, key.weight);
            format!("[{group}]\n{secret} max-in-flight={CAP} weight={weight}\n")
        };
        kept.map(line).collect()
    }

    pub fn find(&self, secret: &str) -> Option<&SoakKey> {
        self.all.iter().find(|key| key.secret == secret)
    }

    /// The most requests that used one key at the same time, through one replica.
    pub fn most_in_flight(&self) -> u32 {
        let counts = self.all.iter().flat_map(|key| &key.in_flight);
        let most = counts.map(InFlight::most);
        most.max().unwrap_or_default()
    }

    /// For how long requests through one replica exceeded the cap of a key.
    pub fn longest_above(&self) -> Duration {
        let counts = self.all.iter().flat_map(|key| &key.in_flight);
        counts.map(InFlight::above).max().unwrap_or_default()
    }

    /// A replica has restarted, and knows only what other replicas tell it.
    pub fn forgotten_by(&self, replica: usize) {
        for key in &self.all {
            key.is_forgotten_by(replica);
        }
    }
}
