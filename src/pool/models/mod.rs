//! Every interleaving of what threads may do at once to one key, and in the line of those who wait.

mod gate;
mod line;
mod trial;
mod word;

use std::time::Duration;

use super::clock::Clock;
use super::rules::Rules;
use crate::sync::now;

fn rules() -> Rules {
    const HOUR: Duration = Duration::from_secs(3600);

    Rules {
        name: Box::default(),
        clock: Clock::since(now() - HOUR),
        default_cooldown: HOUR,
        max_cooldown: 2 * HOUR,
        growth: None,
        // Due at once.
        probe_after: Some(Duration::ZERO),
        slow_start: None,
        track_usage: false,
        max_waiters: 2,
    }
}

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three threads are too many for all of them; three forced switches find what there is to find.
    builder.preemption_bound = Some(3);
    builder.check(check);
}
