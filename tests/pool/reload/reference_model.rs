//! Whatever happens in whatever order, each key is where the simplest of models has it.

use std::time::Duration;

use proptest::prelude::*;
use test_support::harness::key;
use tokio::time::advance;
use tower_key_failover::pool::{Key, KeyPool, KeyState, Marked};

const KEYS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    /// An attempt begins with a key.
    Begin(usize),
    /// One that began is refused.
    Limited(usize, u64),
    Dead(usize),
    Reinstate(usize),
    Disable(usize),
    /// Is taken out of the list, and put back.
    PutBack(usize),
}

/// Milliseconds. The last one means permanent.
const FOR_GOOD: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Model {
    /// How often it was put back.
    life: u32,
    /// How often it was reinstated.
    generation: u32,
    until: u64,
}

impl Model {
    /// A mark of an attempt that began when the key was as `then`.
    fn mark(&mut self, then: Self, now: u64, until: u64) -> Marked {
        let is_late = (then.life, then.generation) != (self.life, self.generation);
        if is_late || until <= self.until {
            return Marked::Unchanged;
        }
        let was_valid = self.until <= now;
        self.until = until;
        if was_valid || until == FOR_GOOD {
            Marked::Transitioned
        } else {
            Marked::Extended
        }
    }

    fn state(self, now: u64) -> KeyState {
        match self.until {
            FOR_GOOD => KeyState::Permanent,
            until if until <= now => KeyState::Valid,
            until => KeyState::Temporary {
                retry_after: Duration::from_millis(until - now),
            },
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS;
    let step = prop_oneof![
        (1..4_000_u64).prop_map(Step::Advance),
        key.clone().prop_map(Step::Begin),
        key.clone().prop_map(Step::Begin),
        (any::<usize>(), 1..9_000_u64).prop_map(|(at, wait)| Step::Limited(at, wait)),
        (any::<usize>(), 1..9_000_u64).prop_map(|(at, wait)| Step::Limited(at, wait)),
        any::<usize>().prop_map(Step::Dead),
        key.clone().prop_map(Step::Reinstate),
        key.clone().prop_map(Step::Disable),
        key.prop_map(Step::PutBack),
    ];
    prop::collection::vec(step, 1..60)
}

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let text = |at| format!("key-{at}");
    let pool = KeyPool::new((0..KEYS).map(text)).unwrap();
    let mut models = [Model::default(); KEYS];
    let mut begun: Vec<(usize, Key, Model)> = Vec::new();
    let mut now = 0;
    for step in steps {
        match step {
            Step::Advance(millis) => {
                advance(Duration::from_millis(millis)).await;
                now += millis;
            }
            Step::Begin(at) => begun.push((at, key(&pool, at), models[at])),
            Step::Limited(..) | Step::Dead(_) if begun.is_empty() => {}
            Step::Limited(which, millis) => {
                let (at, key, then) = &begun[which % begun.len()];
                let marked = key.mark_temporary(Some(Duration::from_millis(millis)));
                prop_assert_eq!(marked, models[*at].mark(*then, now, now + millis));
            }
            Step::Dead(which) => {
                let (at, key, then) = &begun[which % begun.len()];
                let marked = key.mark_permanent();
                prop_assert_eq!(marked, models[*at].mark(*then, now, FOR_GOOD));
            }
            Step::Reinstate(at) => {
                let model = &mut models[at];
                prop_assert_eq!(pool.reinstate(at), Ok(model.until > now));
                model.generation += 1;
                model.until = 0;
            }
            Step::Disable(at) => {
                let model = &mut models[at];
                let marked = match model.until {
                    FOR_GOOD => Marked::Unchanged,
                    _ => Marked::Transitioned,
                };
                prop_assert_eq!(pool.disable(at), Ok(marked));
                model.until = FOR_GOOD;
            }
            Step::PutBack(at) => {
                pool.remove_key(at).unwrap();
                pool.replace_keys((0..KEYS).map(text)).unwrap();
                models[at] = Model {
                    life: models[at].life + 1,
                    ..Model::default()
                };
            }
        }
        prop_assert_eq!(pool.states(), models.map(|model| model.state(now)));
        for (at, key, then) in &begun {
            let state = match then.life == models[*at].life {
                true => models[*at].state(now),
                false => KeyState::Permanent,
            };
            prop_assert_eq!(key.state(), state);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn random_marks_returns_and_reloads_match_the_reference_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps))?;
    }
}
