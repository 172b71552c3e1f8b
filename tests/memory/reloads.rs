//! What a pool holds after its keys were replaced one by one.

use allocation_counter::measure;
use tower_key_failover::pool::{KeyPool, NewKey};

fn text(at: usize) -> String {
    format!("sk-test-{at:08}")
}

fn pool(keys: usize) -> KeyPool {
    KeyPool::new((0..keys).map(text)).unwrap()
}

/// Reloads a pool of `keys` keys so many times. Each reload replaces the oldest key. Returns the bytes
/// that the pool then holds more than before.
fn growth(
    pool: &KeyPool,
    keys: usize,
    reloads: std::ops::Range<usize>,
    key: impl Fn(usize) -> NewKey,
) -> i64 {
    let reload = || {
        for at in reloads.clone() {
            let changes = pool.replace_keys((at + 1..=at + keys).map(&key)).unwrap();
            assert_eq!((changes.added.len(), changes.removed.len()), (1, 1));
        }
    };
    measure(reload).bytes_current
}

#[test]
fn a_key_that_was_added_by_a_reload_takes_as_much_memory_as_any_other() {
    const KEYS: usize = 500;
    let pool = pool(KEYS);
    let growth = growth(&pool, KEYS, 0..KEYS, |at| text(at).into());
    assert!(growth < 200 * KEYS as i64, "{growth} bytes for {KEYS} keys");
}

#[test]
fn a_pool_holds_as_much_after_ten_thousand_reloads_as_before() {
    const KEYS: usize = 50;
    let pool = pool(KEYS);
    growth(&pool, KEYS, 0..KEYS, |at| text(at).into());
    let growth = growth(&pool, KEYS, KEYS..10_000, |at| text(at).into());
    assert!(growth.abs() < 4096, "{growth} bytes");
}

#[test]
fn groups_and_marks_of_keys_that_are_gone_take_no_memory() {
    const KEYS: usize = 50;
    let grouped = |at: usize| NewKey::new(text(at)).group(format!("org-{:08}", at / 5));
    let pool = pool(KEYS);
    let mut held = 0;
    for round in 0..20 {
        let reloads = KEYS * round..KEYS * (round + 1);
        let growth = growth(&pool, KEYS, reloads, grouped);
        for (at, key) in pool.keys().enumerate() {
            match at % 3 {
                0 => key.mark_permanent(),
                1 => key.mark_temporary(None),
                _ => continue,
            };
        }
        if round >= 4 {
            held += growth;
        }
    }
    assert!(held.abs() < 4096, "{held} bytes");
}
