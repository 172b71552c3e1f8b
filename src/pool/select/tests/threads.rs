//! Requests and marks at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{keys, pick_chosen, pool_of};
use crate::pool::peer::{Heard, PeerPool};
use crate::pool::{KeyChoice, KeyPool, KeyState, Reason, Scope, Selection};

const LONG: Duration = Duration::from_secs(60);

/// Marks the first key many times while requests succeed. Returns how often the mark is gone.
fn lost_marks(
    pool: &KeyPool,
    choice: &KeyChoice,
    mark: impl Fn(),
    is_marked: impl Fn() -> bool,
) -> u32 {
    let request = || {
        let pick = pick_chosen(pool, choice, &[]).unwrap();
        pick.key.succeed(choice.scope_ref());
    };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let requests = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                request();
            }
        });
        let mut lost = 0;
        for _ in 0..5_000 {
            mark();
            // The other thread has a key, which succeeds at some point of these.
            for _ in 0..20 {
                request();
            }
            lost += u32::from(!is_marked());
            pool.reinstate("k0").unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        requests.join().unwrap();
        lost
    })
}

#[test]
fn a_mark_survives_requests_that_choose_the_key_at_the_same_time() {
    let pool = pool_of(Selection::round_robin(), keys(2));
    let mark = || {
        // A handle of this generation.
        let key = pool.keys().next().unwrap();
        key.mark_temporary(Some(LONG));
    };
    let is_marked = || pool.states()[0] != KeyState::Valid;
    assert_eq!(lost_marks(&pool, &KeyChoice::new(), mark, is_marked), 0);
}

#[test]
fn a_mark_of_a_scope_survives_requests_that_choose_the_key_at_the_same_time() {
    for selection in [Selection::round_robin(), Selection::in_order()] {
        let pool = Arc::new(pool_of(selection, keys(2)));
        let peers = PeerPool::new(Arc::clone(&pool));
        let scope = Scope::new("model").unwrap();
        let mark = || {
            let limit = peers.limit(0);
            let heard = Heard::ScopeCoolingDown {
                scope: scope.clone(),
                remaining: LONG,
                age: Duration::ZERO,
                reason: Reason::RateLimited,
            };
            assert!(limit.hear(limit.state().generation, heard));
        };
        let is_marked = || !pool.snapshot().keys[0].scopes.is_empty();
        let choice = KeyChoice::new().scope(scope.clone());
        assert_eq!(lost_marks(&pool, &choice, mark, is_marked), 0);
    }
}
