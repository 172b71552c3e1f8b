//! Times each path once per round.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use test_support::paths::Path;
use tokio::time::Instant;

const ROUNDS: usize = 41;
/// How long a path is timed in one round.
const TIME: Duration = Duration::from_millis(4);
/// How many requests are prepared at a time.
const BATCH: u32 = 64;

/// What a second thread does in the meantime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// It sends the same requests through the same layer.
    TheSame,
}

impl Beside {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "one thread",
            Self::TheSame => "two threads",
        }
    }
}

/// The nanoseconds per request of each path, by round.
pub fn times(paths: &[Path], beside: Beside) -> Vec<Vec<f64>> {
    let (at, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut times = vec![Vec::with_capacity(ROUNDS); paths.len()];
    thread::scope(|scope| {
        if beside == Beside::TheSame {
            // One thread for all rounds: threads share copies of the list of keys after the eighth.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    paths[at.load(Ordering::Relaxed)].prepare().send();
                }
            });
        }
        for round in 0..ROUNDS {
            for step in 0..paths.len() {
                let now = match round % 2 {
                    0 => step,
                    _ => paths.len() - 1 - step,
                };
                at.store(now, Ordering::Relaxed);
                times[now].push(time(&paths[now]));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    times
}

fn time(path: &Path) -> f64 {
    batch(path);
    let (mut taken, mut batches) = (Duration::ZERO, 0);
    while taken < TIME {
        taken += batch(path);
        batches += 1;
    }
    taken.as_secs_f64() * 1e9 / f64::from(BATCH * batches)
}

fn batch(path: &Path) -> Duration {
    let mut requests: Vec<_> = (0..BATCH).map(|_| path.prepare()).collect();
    let start = Instant::now();
    for request in &mut requests {
        request.send();
    }
    Instant::now().saturating_duration_since(start)
}
