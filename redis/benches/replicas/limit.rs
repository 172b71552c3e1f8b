//! What a provider allows each key.

use std::time::Duration;

use crate::random::Random;
use crate::scenario::Scenario;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// So many requests per window. A refusal names the rest of the window.
    Windows(Duration),
    /// Requests become possible one by one, and a few are saved up. A refusal names the time until the
    /// next one.
    Buckets,
}

/// The limit of one key. Times are seconds since the start of the run.
pub(crate) enum Limit {
    Window {
        length: f64,
        /// How much earlier the windows begin than those of a key without a phase.
        phase: f64,
        capacity: u32,
        current: u64,
        used: u32,
    },
    Bucket {
        per_second: f64,
        capacity: f64,
        left: f64,
        filled_at: f64,
    },
}

impl Limit {
    /// The limit of a key that is used up when the run begins. Otherwise, it would take minutes until
    /// replicas that ask for more than they may have used up what is left.
    pub(crate) fn new(scenario: &Scenario, random: &mut Random) -> Self {
        let per_second = scenario.allowed_per_second();
        match scenario.kind {
            Kind::Windows(length) => {
                let length = length.as_secs_f64();
                let capacity = (per_second * length) as u32;
                Self::Window {
                    length,
                    phase: random.unit() * length,
                    capacity,
                    current: 0,
                    used: capacity,
                }
            }
            Kind::Buckets => Self::Bucket {
                per_second,
                capacity: 5.0 * per_second,
                left: 0.0,
                filled_at: 0.0,
            },
        }
    }

    /// Serves a request, or returns in how many seconds the key can be used again.
    pub(crate) fn request(&mut self, now: f64) -> Result<(), f64> {
        match self {
            Self::Window {
                length,
                phase,
                capacity,
                current,
                used,
            } => {
                let window = ((now + *phase) / *length) as u64;
                if window != *current {
                    (*current, *used) = (window, 0);
                }
                if used < capacity {
                    *used += 1;
                    return Ok(());
                }
                Err((window + 1) as f64 * *length - *phase - now)
            }
            Self::Bucket {
                per_second,
                capacity,
                left,
                filled_at,
            } => {
                *left = capacity.min(*left + (now - *filled_at) * *per_second);
                *filled_at = now;
                if *left >= 1.0 {
                    *left -= 1.0;
                    return Ok(());
                }
                Err((1.0 - *left) / *per_second)
            }
        }
    }
}
