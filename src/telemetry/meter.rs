//! Metrics, through the `metrics` facade.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::names;
use crate::failover::{AttemptRecord, FailoverInfo, Outcome};
use crate::pool::{KeySnapshot, KeyState, Marked, PoolEvent, PoolSnapshot};

const STATE: &str = "key_pool_state";
const SUSPECTED: &str = "key_pool_suspected_keys";
const SUSPICIONS: &str = "key_pool_suspicions_total";
const TRANSITIONS: &str = "key_pool_state_transitions_total";
const EXHAUSTIONS: &str = "key_pool_exhaustions_total";
const ATTEMPTS: &str = "key_pool_failover_attempts";
const REPLAY_DISABLED: &str = "key_pool_replay_disabled_total";
const REFUSED_SECONDS: &str = "key_pool_refused_attempt_seconds";

// Of each key with a label, if the pool counts.
const KEY_ATTEMPTS: &str = "key_pool_key_attempts_total";
const KEY_SERVED: &str = "key_pool_key_served_total";
const KEY_REFUSED: &str = "key_pool_key_refused_total";
const KEY_IN_FLIGHT: &str = "key_pool_key_in_flight";

const VALID: &str = "valid";
const TEMPORARY: &str = "temporary";
const PERMANENT: &str = "permanent";

/// Sets the gauges of keys in each state and of suspected keys, and describes all metrics.
pub(super) fn record_keys(pool: &PoolSnapshot) {
    describe();
    let label = || pool.name.to_string();
    for name in [VALID, TEMPORARY, PERMANENT] {
        let keys = pool.keys.iter().filter(|key| name_of(key.state) == name);
        gauge!(STATE, "pool" => label(), "state" => name).set(keys.count() as f64);
    }
    let suspected = pool.keys.iter().filter(|key| key.suspicions > 0);
    gauge!(SUSPECTED, "pool" => label()).set(suspected.count() as f64);
    for key in &pool.keys {
        record_key(&pool.name, key);
    }
}

/// Sets what is counted of one key. Only operators choose labels, so their number is bounded.
fn record_key(pool: &str, key: &KeySnapshot) {
    let Some(label) = &key.label else {
        return;
    };
    let pool = || pool.to_owned();
    let label = || label.to_string();
    if let Some(usage) = &key.usage {
        for (by, times) in &usage.picked {
            counter!(KEY_ATTEMPTS, "pool" => pool(), "key" => label(), "picked_by" => by.as_str())
                .absolute(*times);
        }
        counter!(KEY_SERVED, "pool" => pool(), "key" => label()).absolute(usage.served);
        for (reason, times) in &usage.refused {
            counter!(KEY_REFUSED, "pool" => pool(), "key" => label(), "reason" => reason.as_str())
                .absolute(*times);
        }
    }
    if let Some(in_flight) = key.in_flight {
        gauge!(KEY_IN_FLIGHT, "pool" => pool(), "key" => label()).set(in_flight);
    }
}

fn describe() {
    describe_gauge!(STATE, Unit::Count, "Keys of the pool in this state");
    describe_gauge!(
        SUSPECTED,
        Unit::Count,
        "Keys that were refused without proof since their last success"
    );
    describe_counter!(
        SUSPICIONS,
        Unit::Count,
        "Refusals that may be the fault of the request"
    );
    describe_counter!(TRANSITIONS, Unit::Count, "Keys that entered this state");
    describe_counter!(
        EXHAUSTIONS,
        Unit::Count,
        "Requests that failed because no key was left"
    );
    describe_histogram!(
        ATTEMPTS,
        Unit::Count,
        "Attempts of requests that made more than one, or for which no key was left"
    );
    describe_counter!(
        REPLAY_DISABLED,
        Unit::Count,
        "Requests that could not have been sent again, because of their bodies"
    );
    describe_histogram!(
        REFUSED_SECONDS,
        Unit::Seconds,
        "Duration of refused attempts"
    );
    describe_counter!(KEY_ATTEMPTS, Unit::Count, "Attempts with this key");
    describe_counter!(
        KEY_SERVED,
        Unit::Count,
        "Responses to attempts with this key that callers got"
    );
    describe_counter!(KEY_REFUSED, Unit::Count, "Responses that refused this key");
    describe_gauge!(
        KEY_IN_FLIGHT,
        Unit::Count,
        "Requests in flight with this key"
    );
}

fn name_of(state: KeyState) -> &'static str {
    match state {
        KeyState::Valid => VALID,
        KeyState::Temporary { .. } => TEMPORARY,
        KeyState::Permanent => PERMANENT,
    }
}

pub(super) fn on_event(pool: &str, event: &PoolEvent) {
    let (state, reason) = match event {
        PoolEvent::Marked {
            // Other marks leave the state of the key unchanged.
            scope: None,
            state,
            marked: Marked::Transitioned,
            reason,
            ..
        } => (name_of(*state), reason.as_str()),
        PoolEvent::Returned { by, .. } => (VALID, names::of_return(*by)),
        PoolEvent::Exhausted { exhausted } => {
            let outcome = names::of_exhaustion(exhausted.kind);
            counter!(EXHAUSTIONS, "pool" => pool.to_owned(), "outcome" => outcome).increment(1);
            return;
        }
        PoolEvent::Suspected { reason, .. } => {
            let reason = reason.as_str();
            counter!(SUSPICIONS, "pool" => pool.to_owned(), "reason" => reason).increment(1);
            return;
        }
        PoolEvent::Marked { .. }
        | PoolEvent::Trusted { .. }
        | PoolEvent::Changed { .. }
        | PoolEvent::Missed { .. } => return,
    };
    counter!(TRANSITIONS, "pool" => pool.to_owned(), "state" => state, "reason" => reason)
        .increment(1);
}

pub(super) fn on_refused(pool: &str, attempt: &AttemptRecord) {
    if let Some(elapsed) = attempt.elapsed() {
        histogram!(REFUSED_SECONDS, "pool" => pool.to_owned()).record(elapsed);
    }
}

pub(super) fn on_response(pool: &str, info: &FailoverInfo) {
    if let Some(reason) = names::of_given_up(info.replay()) {
        counter!(REPLAY_DISABLED, "pool" => pool.to_owned(), "reason" => reason).increment(1);
    }
    if info.attempts() > 1 || info.outcome() == Outcome::Exhausted {
        histogram!(ATTEMPTS, "pool" => pool.to_owned()).record(info.attempts() as f64);
    }
}
