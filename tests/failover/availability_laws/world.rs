//! The real pool and layer, and the laws that are checked after everything that happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, InFlight, SentAttempt};
use test_support::mock::{layer, request, response, response_with};
use tokio::time::{Instant, advance};
use tower_key_failover::pool::{KeyPool, KeyState, NewKey};
use tower_key_failover::{FailoverInfo, Outcome, Replay};

use super::facts::{Attempt, Facts, LimitId};
use super::operation::{Groups, Operation, Reply, Settings};

/// Waiting requests may have to share a reopened key. That takes less time than this.
const SHARED: u64 = 1000;
/// An attempt without a verdict is a proof after this time.
const SILENCE: u64 = 250;
/// After so many proofs, a key is fully open.
const PROOFS: usize = 16;
const REQUESTS: usize = 6;
/// Deadlines are rounded.
const ROUNDING: u64 = 3;
/// A restart takes some time by the wall clock, which goes on while tokio's clock is paused.
#[cfg(feature = "serde")]
const RESTART: u64 = 1000;

pub struct World {
    settings: Settings,
    pool: Arc<KeyPool>,
    harness: Harness,
    start: Instant,
    requests: BTreeMap<usize, Request>,
    sent: BTreeMap<usize, (Attempt, SentAttempt)>,
    next: usize,
    facts: Facts,
    /// How much earlier than expected a cooldown may end.
    tolerance: u64,
}

struct Request {
    in_flight: InFlight,
    /// The time at which it was sent.
    began: u64,
    /// The keys of its attempts.
    tried: Vec<LimitId>,
    /// The keys that it may not use again.
    excluded: Vec<LimitId>,
    /// The event in which it began to wait, if it waits.
    waits_since: Option<u64>,
    /// The same, of its last wait.
    waited_since: Option<u64>,
    /// The time at which it began to wait.
    waits_from: u64,
}

fn text(key: usize) -> String {
    format!("key-{key}")
}

fn new_key(key: usize, groups: &Groups) -> NewKey {
    let new = NewKey::new(text(key)).label(text(key));
    match groups[key] {
        Some(group) => new.group(format!("group-{group}")),
        None => new,
    }
}

fn build(settings: &Settings, keys: &[usize], groups: &Groups) -> (Arc<KeyPool>, Harness) {
    let mut builder = KeyPool::builder()
        .with_probe_jitter_of(settings.jitter)
        .key("placeholder");
    if !settings.has_probes {
        builder = builder.probe_after(None);
    }
    let pool = Arc::new(builder.build().unwrap());
    let keys = keys.iter().map(|key| new_key(*key, groups));
    pool.replace_keys(keys).unwrap();
    let layer = layer(&pool);
    let layer = match settings.wait_for_key {
        Some(time) => layer.wait_for_key(time),
        None => layer,
    };
    (pool, Harness::new(&layer))
}

impl World {
    pub fn new(settings: &Settings) -> Self {
        let keys: Vec<_> = (0..settings.keys).collect();
        let (pool, harness) = build(settings, &keys, &settings.groups);
        let mut facts = Facts::default();
        facts.replace(&keys, &settings.groups, 0);
        Self {
            settings: settings.clone(),
            pool,
            harness,
            start: Instant::now(),
            requests: BTreeMap::new(),
            sent: BTreeMap::new(),
            next: 0,
            facts,
            tolerance: ROUNDING,
        }
    }

    fn now(&self) -> u64 {
        let now = Instant::now().saturating_duration_since(self.start);
        now.as_millis() as u64
    }

    pub async fn apply(&mut self, operation: &Operation) {
        self.facts.event += 1;
        if matches!(operation, Operation::Reinstate(_) | Operation::Replace(..)) {
            // Later than every request that began before: such a request may not know the key.
            advance(Duration::from_millis(1)).await;
        }
        let now = self.now();
        match operation {
            Operation::Send => self.send(),
            Operation::Respond(at, reply) => self.respond(*at, *reply),
            Operation::Cancel(at) => {
                if let Some(id) = nth(&self.requests, *at) {
                    self.requests.remove(&id);
                    if let Some((attempt, _)) = self.sent.remove(&id)
                        && attempt.began + SILENCE <= now
                    {
                        self.facts.proved(&attempt);
                    }
                }
            }
            Operation::Advance(time) => {
                // In steps, so that nothing happens unseen.
                let mut left = *time;
                while !left.is_zero() {
                    let step = left.min(Duration::from_millis(125));
                    advance(step).await;
                    left -= step;
                    self.facts.event += 1;
                    self.settle();
                    self.check();
                }
            }
            Operation::Disable(key) => {
                let _ = self.pool.disable(text(*key).as_str());
                self.facts.disable(*key);
            }
            Operation::Reinstate(key) => {
                let _ = self.pool.reinstate(text(*key).as_str());
                self.facts.reinstate(*key, now);
            }
            Operation::Replace(keys, groups) => {
                let new = keys.iter().map(|key| new_key(*key, groups));
                self.pool.replace_keys(new).unwrap();
                self.facts.replace(keys, groups, now);
            }
            Operation::Restart => self.restart(),
        }
        tokio::task::yield_now().await;
        self.settle();
        self.check();
    }

    fn send(&mut self) {
        if self.requests.len() == REQUESTS {
            return;
        }
        let id = self.next;
        self.next += 1;
        let mut request = request("body");
        request.headers_mut().insert("x-id", id.into());
        let request = Request {
            began: self.now(),
            in_flight: self.harness.send_request(request),
            tried: Vec::new(),
            excluded: Vec::new(),
            waits_since: None,
            waited_since: None,
            waits_from: 0,
        };
        self.requests.insert(id, request);
        self.poll(id);
    }

    fn respond(&mut self, at: usize, reply: Reply) {
        let Some(id) = nth(&self.sent, at) else {
            return;
        };
        let (attempt, sent) = self.sent.remove(&id).unwrap();
        let now = self.now();
        if reply == Reply::Success || attempt.began + SILENCE <= now {
            self.facts.proved(&attempt);
        }
        let request = self.requests.get_mut(&id).unwrap();
        match reply {
            Reply::Kept | Reply::Revoked => request.excluded.push(attempt.slot.own),
            _ => {}
        }
        match reply {
            Reply::Success => {
                sent.respond(response(200));
                self.facts.succeeded(&attempt, now);
            }
            Reply::Error => sent.respond(response(500)),
            Reply::Failed => sent.fail("connection reset"),
            Reply::Kept => sent.respond(response_with(403, &[("x-say", "keep")], "")),
            Reply::Revoked => {
                sent.respond(response(403));
                self.facts.revoked(&attempt);
            }
            Reply::RateLimited(seconds) => {
                let wait = ["0", "1", "2", "3", "4", "5"][seconds as usize];
                sent.respond(response_with(429, &[("retry-after", wait)], ""));
                self.facts.rate_limited(&attempt, seconds, now);
            }
        }
        self.poll(id);
        if reply == Reply::Success {
            self.check_success(&attempt);
        }
    }

    #[cfg(feature = "serde")]
    fn restart(&mut self) {
        self.requests.clear();
        self.sent.clear();
        let saved = self.pool.save();
        let mut groups = Groups::default();
        let keys: Vec<_> = self.facts.list.iter().map(|slot| slot.key).collect();
        for slot in &self.facts.list {
            groups[slot.key] = slot.group.map(|(name, _)| name);
        }
        (self.pool, self.harness) = build(&self.settings, &keys, &groups);
        self.pool.restore(&saved);
        self.tolerance += RESTART;
        let now = self.now();
        for limit in self.facts.limits.values_mut() {
            limit.began_at = self.facts.event;
            if limit.is_open(now) {
                limit.never_cooled = true;
            }
        }
    }

    #[cfg(not(feature = "serde"))]
    fn restart(&mut self) {}

    /// Polls the requests that were woken until none is.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let mut woken = self
                .requests
                .iter()
                .filter(|(_, it)| it.in_flight.is_woken());
            let Some(id) = woken.next().map(|(id, _)| *id) else {
                break;
            };
            self.poll(id);
        }
        self.take_attempts();
        let before = (self.sent.len(), self.requests.len());
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            self.poll(id);
        }
        let after = (self.sent.len(), self.requests.len());
        assert_eq!(before, after, "a request that can go on is woken");
        let (event, now) = (self.facts.event, self.now());
        for (id, request) in &mut self.requests {
            match self.sent.contains_key(id) {
                true => request.waits_since = None,
                false => {
                    if request.waits_since.is_none() {
                        (request.waits_since, request.waits_from) = (Some(event), now);
                    }
                    request.waited_since = request.waits_since;
                }
            }
        }
    }

    fn poll(&mut self, id: usize) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let is_pending = request.in_flight.is_pending();
        self.take_attempts();
        if !is_pending {
            let mut request = self.requests.remove(&id).unwrap();
            if let Ok(response) = request.in_flight.result() {
                let info = response.body().failover().unwrap().clone();
                self.check_end(&request, &info);
            }
        }
    }

    fn take_attempts(&mut self) {
        let now = self.now();
        while let Some(sent) = self.harness.try_next_attempt() {
            let id = sent.request.headers()["x-id"].to_str().unwrap();
            let id: usize = id.parse().unwrap();
            let key = sent.key.trim_start_matches("key-").parse().unwrap();
            let slot = self.facts.slot(key);
            let slot = slot.expect("a removed key is never used");
            let attempt = Attempt {
                key,
                slot,
                event: self.facts.event,
                began: now,
                is_probe: self.facts.open_since(slot, now + self.tolerance).is_none(),
            };
            self.check_attempt(id, &attempt);
            if let Some(request) = self.requests.get_mut(&id) {
                request.tried.push(slot.own);
            }
            self.sent.insert(id, (attempt, sent));
        }
    }

    // === The laws ===

    fn check_attempt(&self, id: usize, attempt: &Attempt) {
        let own = &self.facts.limits[&attempt.slot.own];
        assert!(!own.is_disabled, "a disabled key is never used");
        assert!(
            !attempt.is_probe || own.is_permanent && self.settings.has_probes,
            "a key that cools down is not used"
        );
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        assert!(
            !request.excluded.contains(&attempt.slot.own),
            "a request uses no key again that refused it for another reason than its rate"
        );
    }

    fn check_success(&self, attempt: &Attempt) {
        let Some(slot) = self.facts.slot(attempt.key) else {
            return;
        };
        let was_marked_since = slot.limits().any(|id| {
            let limit = &self.facts.limits[&id];
            limit.marked_at >= attempt.event
        });
        if slot == attempt.slot && !was_marked_since {
            let state = self.state(attempt.key);
            assert_eq!(
                state,
                KeyState::Valid,
                "a success never leaves its key unusable"
            );
        }
    }

    fn check_end(&self, request: &Request, info: &FailoverInfo) {
        // Without a second key at its start, a request is not recorded.
        let is_recorded = info.replay() == Replay::Available || info.attempts() == 0;
        if info.outcome() != Outcome::Exhausted || !is_recorded {
            return;
        }
        for slot in &self.facts.list {
            let limits = slot.limits().map(|id| &self.facts.limits[&id]);
            let was_open = limits.clone().all(|limit| limit.never_cooled)
                && self
                    .facts
                    .open_since(*slot, self.now())
                    .is_some_and(|since| since <= request.began);
            assert!(
                !was_open || request.tried.contains(&slot.own),
                "a request fails only after it tried every key that was never marked"
            );
        }
    }

    fn check(&self) {
        self.check_states();
        self.check_waiters();
        self.check_reopening();
    }

    /// A key is unusable exactly as long as a mark applies to it or to its group.
    fn check_states(&self) {
        let now = self.now();
        for slot in &self.facts.list {
            let state = self.state(slot.key);
            let limits = slot.limits().map(|id| &self.facts.limits[&id]);
            let is_permanent = limits.clone().any(|it| it.is_permanent || it.is_disabled);
            let until = limits.map(|limit| limit.until).max().unwrap();
            let is_valid = state == KeyState::Valid;
            if is_permanent {
                assert_eq!(state, KeyState::Permanent, "key {}", slot.key);
            } else if now + self.tolerance < until {
                assert!(!is_valid, "key {} cools down", slot.key);
            } else if now > until + ROUNDING {
                assert!(is_valid, "no mark applies to key {}: {state:?}", slot.key);
            }
        }
    }

    fn check_waiters(&self) {
        let now = self.now();
        let waiting = self
            .requests
            .iter()
            .filter_map(|(id, request)| Some((id, request, request.waits_since?)));
        for (id, request, since) in waiting.clone() {
            assert!(
                self.settings.wait_for_key.is_some(),
                "a request that may not wait never waits"
            );
            for slot in &self.facts.list {
                let open_since = self.facts.open_since(*slot, now);
                let is_long_open =
                    open_since.is_some_and(|since| since.max(request.waits_from) + SHARED < now);
                assert!(
                    !is_long_open || request.excluded.contains(&slot.own),
                    "request {id} waits although it could use key {}",
                    slot.key
                );
            }
            // Those that can use every key are served in order.
            let overtakes = |other: &Request, attempt: &Attempt| {
                attempt.event == self.facts.event
                    && !attempt.is_probe
                    && other.tried.len() == 1
                    && other.waited_since.is_none_or(|other| other > since)
                    && since < attempt.event
            };
            let overtaken = self.sent.iter().any(|(id, (attempt, _))| {
                let other = self.requests.get(id);
                other.is_some_and(|other| overtakes(other, attempt))
            });
            assert!(
                !overtaken || !request.excluded.is_empty(),
                "request {id} is overtaken"
            );
        }
    }

    /// Of a reopened key, few attempts are under way that could be refused.
    fn check_reopening(&self) {
        if self.settings.wait_for_key.is_none() {
            return;
        }
        let now = self.now();
        for slot in &self.facts.list {
            let limit = &self.facts.limits[&slot.own];
            if limit.never_cooled || !limit.is_open(now) {
                continue;
            }
            let attempts = self.sent.values().map(|(attempt, _)| attempt);
            let attempts =
                attempts.filter(|it| it.slot.own == slot.own && it.event > limit.marked_at);
            let (young, old): (Vec<_>, Vec<_>) =
                attempts.partition(|attempt| attempt.began + SILENCE > now);
            let proofs = limit.proofs + old.len();
            assert!(
                proofs >= PROOFS || young.len() <= 1 + proofs,
                "{} attempts after {proofs} proofs with key {}",
                young.len(),
                slot.key
            );
        }
    }

    fn state(&self, key: usize) -> KeyState {
        let label = text(key);
        let mut keys = self.pool.keys();
        let key = keys.find(|key| key.label() == Some(&label)).unwrap();
        key.state()
    }
}

fn nth<T>(of: &BTreeMap<usize, T>, at: usize) -> Option<usize> {
    of.keys().nth(at % of.len().max(1)).copied()
}
