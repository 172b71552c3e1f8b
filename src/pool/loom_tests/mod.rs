//! All interleavings of concurrent actions on one key and on the wait queue.

mod atomic_state;
mod in_flight;
mod limit;
mod probe_schedule;
mod queue;

use std::time::Duration;

use super::clock::Clock;
use super::state::{CooldownRules, LimitConfig, PoolProbes, ProbeRules};
use crate::sync::now;

const HOUR: Duration = Duration::from_secs(3600);

fn config() -> LimitConfig {
    // Due at once.
    let mut probes = ProbeRules::new(Some(Duration::ZERO));
    probes.probes_cooldowns = true;
    probes.jitter = false;
    LimitConfig {
        clock: Clock::since(now() - HOUR),
        cooldown: CooldownRules {
            default: HOUR,
            max: 2 * HOUR,
            exponential: None,
        },
        probes,
        pool_probes: PoolProbes::new(),
    }
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // There are too many interleavings to check all of them. Two preemptions are enough to find the
    // known kinds of errors.
    builder.preemption_bound = Some(2);
    builder.check(check);
}
