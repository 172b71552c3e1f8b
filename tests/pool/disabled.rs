//! A key that an operator disabled stays disabled, whatever arrives late.

use std::sync::atomic::{AtomicUsize, Ordering};

use tower_key_failover::pool::{Key, KeyPool, KeyState, Marked, Reason};

#[test]
fn a_late_mark_does_not_replace_the_reason_of_a_disabled_key() {
    let pool = KeyPool::new(["k0", "k1"]).unwrap();
    let late = pool.keys().next().unwrap();
    pool.disable(0).unwrap();
    assert_eq!(late.mark_permanent(), Marked::Unchanged);
    assert_eq!(late.mark_temporary(None), Marked::Unchanged);
    let key = &pool.snapshot().keys[0];
    assert_eq!(
        (key.state, key.reason),
        (KeyState::Permanent, Some(Reason::Operator))
    );
}

/// Disables every key of a pool while another thread marks it. Both come to each key together. Then
/// `check` looks at the pool, and all keys are reinstated for the next round.
fn race(mark: impl Fn(&Key) -> Marked + Sync, check: impl Fn(&KeyPool)) {
    const KEYS: usize = 500;
    const ROUNDS: usize = 10;
    let pool = KeyPool::new((0..KEYS).map(|at| format!("key-{at}"))).unwrap();
    let turns = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let meet = |me: usize, at: usize| {
        turns[me].store(at + 1, Ordering::Release);
        while turns[1 - me].load(Ordering::Acquire) <= at {
            std::thread::yield_now();
        }
    };
    for round in 0..ROUNDS {
        let keys: Vec<_> = pool.keys().collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..KEYS {
                    meet(0, round * KEYS + at);
                    pool.disable(at).unwrap();
                }
            });
            for (at, key) in keys.iter().enumerate() {
                meet(1, round * KEYS + at);
                mark(key);
            }
        });
        check(&pool);
        for at in 0..KEYS {
            pool.reinstate(at).unwrap();
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_disabled_key_that_is_marked_at_the_same_time_is_saved_as_disabled() {
    let check = |pool: &KeyPool| {
        let saved = serde_json::to_value(pool.save()).unwrap();
        let keys = saved["keys"].as_array().unwrap();
        assert_eq!(keys.len(), pool.len());
        let others = keys.iter().filter(|key| key["state"] != "disabled");
        assert_eq!(others.count(), 0, "of {} keys", pool.len());
    };
    race(Key::mark_permanent, check);
    race(|key| key.mark_temporary(None), check);
}

#[test]
fn a_disabled_key_that_is_marked_at_the_same_time_names_the_operator_as_its_reason() {
    let check = |pool: &KeyPool| {
        let keys = pool.snapshot().keys;
        let others = keys
            .iter()
            .filter(|key| key.reason != Some(Reason::Operator));
        assert_eq!(others.count(), 0, "of {} keys", pool.len());
    };
    race(Key::mark_permanent, check);
    race(|key| key.mark_temporary(None), check);
}
