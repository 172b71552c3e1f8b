//! What needs the inside of the pool: returning a key to service, and the word's bounds.

use std::time::Duration;

use tokio::time::advance;

use super::trial::Trial;
use super::word::{Stamp, Until, Word};
use super::{Key, KeyPool, KeyState, Marked};

fn pool() -> KeyPool {
    KeyPool::new(["k0", "k1"]).unwrap()
}

fn first(pool: &KeyPool) -> Key {
    pool.walker().next_key().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_is_valid_again() {
    let pool = pool();
    first(&pool).mark_permanent();
    assert!(pool.reinstate(0).unwrap());
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_late_mark_of_an_attempt_that_began_before_the_return_changes_nothing() {
    let pool = pool();
    let early = first(&pool);
    early.mark_permanent();
    pool.reinstate(0).unwrap();
    assert_eq!(early.mark_permanent(), Marked::Unchanged);
    assert_eq!(early.mark_temporary(None), Marked::Unchanged);
    assert_eq!(first(&pool).index(), 0);
    assert_eq!(first(&pool).mark_permanent(), Marked::Transitioned);
}

#[test]
fn a_return_to_service_loses_to_a_mark_it_did_not_see() {
    let word = Word::new();
    let seen = word.load();
    word.raise(Stamp::temporary(0, 5));
    assert!(!word.reinstate(seen));
    assert_eq!(word.load().until(), Until::Millis(5));
}

#[test]
fn a_temporary_mark_is_never_mistaken_for_a_permanent_one() {
    for millis in [Stamp::LATEST, Stamp::LATEST + 1, u64::MAX] {
        let stamp = Stamp::temporary(0, millis);
        assert_eq!(stamp.until(), Until::Millis(Stamp::LATEST));
        assert!(stamp < Stamp::permanent(0));
    }
    assert!(Stamp::permanent(0) < Stamp::temporary(1, 1));
}

#[test]
fn generations_that_are_used_up_leave_the_key_as_it_is() {
    let word = Word::new();
    word.raise(Stamp::permanent((1 << 24) - 2));
    assert!(!word.reinstate(word.load()));
    assert_eq!(word.load().until(), Until::Never);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_rounded_up_and_a_wait_is_never_reported_longer_than_it_was_asked() {
    let pool = pool();
    advance(Duration::from_nanos(300)).await;
    first(&pool).mark_temporary(Some(Duration::from_secs(3)));
    advance(Duration::from_nanos(50)).await;
    let retry_after = Duration::from_secs(3);
    assert_eq!(pool.states()[0], KeyState::Temporary { retry_after });
    advance(retry_after).await;
    // 350 ns past three seconds: the deadline was rounded up to the millisecond.
    let retry_after = Duration::from_millis(1);
    assert_eq!(pool.states()[0], KeyState::Temporary { retry_after });
    advance(retry_after).await;
    assert_eq!(pool.states()[0], KeyState::Valid);
}

#[test]
fn a_trial_is_lent_once_and_as_it_was_seen() {
    let (trial, stamp) = (Trial::new(), Stamp::permanent(0));
    trial.update(stamp, |offer| offer.due = 5);
    let seen = trial.offer(stamp);
    assert!(trial.take(stamp, seen));
    assert!(!trial.take(stamp, seen));
    assert!(!trial.take(stamp, trial.offer(stamp)));

    // It failed meanwhile, and is put off.
    trial.update(stamp, |offer| (offer.held, offer.due) = (false, 9));
    assert!(!trial.take(stamp, seen));
    assert!(trial.take(stamp, trial.offer(stamp)));
}

#[test]
fn who_saw_an_older_generation_takes_nothing_of_a_newer_one() {
    let (trial, old, new) = (Trial::new(), Stamp::permanent(1), Stamp::permanent(2));
    let seen = trial.offer(old);
    trial.update(new, |offer| offer.due = 5);
    assert!(!trial.take(old, seen));
    trial.update(old, |offer| offer.due = 9);
    assert_eq!(trial.offer(new).due, 5);
    assert_eq!(trial.offer(old).due, 0);
}

#[test]
fn what_says_nothing_stands_in_no_generations_way() {
    let (trial, far) = (Trial::new(), Stamp::permanent(40_000));
    assert!(trial.take(far, trial.offer(far)));
    trial.update(far, |offer| offer.held = false);
    assert!(trial.take(far, trial.offer(far)));
}
