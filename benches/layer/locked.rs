use std::sync::RwLock;
use std::time::Duration;

use tokio::time::Instant;

/// A pool with a lock for each key.
#[derive(Debug)]
pub struct LockedPool(Vec<RwLock<State>>);

#[derive(Clone, Copy, Debug)]
enum State {
    Valid,
    Until(Instant),
    Never,
}

impl LockedPool {
    /// Of which the last `usable` keys are usable.
    pub fn new(len: usize, usable: usize) -> Self {
        let state = |at| match at < len - usable {
            true => State::Never,
            false => State::Valid,
        };
        Self((0..len).map(|at| RwLock::new(state(at))).collect())
    }

    pub fn pick(&self) -> Option<usize> {
        self.0
            .iter()
            .position(|state| match *state.read().unwrap() {
                State::Valid => true,
                State::Until(until) => until <= Instant::now(),
                State::Never => false,
            })
    }

    pub fn mark_temporary(&self, at: usize, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.0[at].write().unwrap();
        match *state {
            State::Until(before) if before >= until => {}
            State::Never => {}
            _ => *state = State::Until(until),
        }
    }

    pub fn mark_permanent(&self, at: usize) {
        *self.0[at].write().unwrap() = State::Never;
    }
}
