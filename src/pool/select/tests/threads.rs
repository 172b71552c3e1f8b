//! Requests and marks at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{keys, pick, pool_of};
use crate::pool::{KeyState, Selection};

#[test]
fn a_mark_survives_requests_that_choose_the_key_at_the_same_time() {
    const MARKS: u32 = 5_000;
    let pool = pool_of(Selection::round_robin(), keys(2));
    let is_over = AtomicBool::new(false);
    let lost = thread::scope(|scope| {
        let requests = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                pick(&pool).key.succeed(None);
            }
        });
        let mut lost = 0;
        for _ in 0..MARKS {
            // A handle of this generation.
            let key = pool.keys().next().unwrap();
            key.mark_temporary(Some(Duration::from_secs(60)));
            // The other thread has a key, which succeeds at some point of these.
            for _ in 0..20 {
                pick(&pool).key.succeed(None);
            }
            lost += u32::from(key.state() == KeyState::Valid);
            pool.reinstate("k0").unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        requests.join().unwrap();
        lost
    });
    assert_eq!(lost, 0);
}
