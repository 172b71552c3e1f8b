//! What other processes say about the keys of a pool.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tower_key_failover::pool::peer::{Heard, LimitMark, LimitOwner, PeerPool};
use tower_key_failover::pool::{KeyPool, KeyState, Reason};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

fn pool() -> Arc<KeyPool> {
    let pool = KeyPool::builder()
        .labeled_key("a", "key-a")
        .group("one")
        .labeled_key("b", "key-b")
        .group("one")
        .labeled_key("c", "key-c");
    Arc::new(pool.max_cooldown(Duration::from_secs(60)).build().unwrap())
}

fn rate_limited(remaining: Duration) -> Heard {
    let reason = Reason::RateLimited;
    Heard::CoolingDown { remaining, reason }
}

/// Applies what another process says about the limit at `position`.
fn hear(peer: &PeerPool, position: usize, heard: Heard) -> bool {
    let limit = peer.limit(position);
    limit.hear(limit.state().generation, heard)
}

#[test]
fn each_key_and_each_group_has_one_limit() {
    let peer = PeerPool::new(pool());
    let owners: Vec<_> = peer
        .limits()
        .map(|limit| match limit.owner() {
            LimitOwner::Key(key) => format!("key {key}"),
            LimitOwner::Group(group) => format!("group {group}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(owners, ["key key-a", "key key-b", "key key-c", "group one"]);
}

#[test]
fn owners_and_limits_print_no_key() {
    let peer = PeerPool::new(pool());
    for limit in peer.limits() {
        let text = format!("{peer:?} {limit:?} {:?}", limit.owner());
        assert!(!text.contains("key-"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_that_is_heard_applies_up_to_the_maximum() {
    let pool = pool();
    let peer = PeerPool::new(Arc::clone(&pool));
    assert!(hear(&peer, 2, rate_limited(FIVE_SECONDS)));
    assert_eq!(
        pool.states()[2],
        KeyState::Temporary {
            retry_after: FIVE_SECONDS
        }
    );
    assert!(!hear(&peer, 2, rate_limited(Duration::from_secs(3))));
    assert!(hear(&peer, 2, rate_limited(Duration::from_secs(3600))));
    let retry_after = Duration::from_secs(60);
    assert_eq!(pool.states()[2], KeyState::Temporary { retry_after });
    assert_eq!(pool.snapshot().keys[2].reason, Some(Reason::RateLimited));
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_of_a_group_applies_to_its_keys() {
    let pool = pool();
    let peer = PeerPool::new(Arc::clone(&pool));
    assert!(hear(&peer, 3, rate_limited(FIVE_SECONDS)));
    let cooling_down = KeyState::Temporary {
        retry_after: FIVE_SECONDS,
    };
    assert_eq!(pool.states(), [cooling_down, cooling_down, KeyState::Valid]);
}

#[test]
fn a_refusal_that_is_heard_raises_a_suspicion_and_marks_nothing() {
    let pool = pool();
    let peer = PeerPool::new(Arc::clone(&pool));
    let refused = Heard::Refused {
        reason: Reason::Unauthorized,
    };
    assert!(hear(&peer, 0, refused.clone()));
    let key = &pool.snapshot().keys[0];
    assert_eq!((key.state, key.suspicions), (KeyState::Valid, 1));
    assert!(!hear(&peer, 3, refused), "a group cannot be refused");
}

#[test]
fn a_refusal_of_a_permanently_marked_key_changes_nothing() {
    let pool = pool();
    pool.keys().next().unwrap().mark_permanent();
    let peer = PeerPool::new(Arc::clone(&pool));
    let reason = Reason::Unauthorized;
    assert!(!hear(&peer, 0, Heard::Refused { reason }));
}

#[test]
fn what_an_operator_did_elsewhere_applies_and_is_no_act_of_this_process() {
    let pool = pool();
    let peer = PeerPool::new(Arc::clone(&pool));
    assert!(hear(&peer, 0, Heard::Disabled));
    assert_eq!(pool.states()[0], KeyState::Permanent);
    assert_eq!(peer.limit(0).state().mark, LimitMark::Disabled);
    assert!(hear(&peer, 0, Heard::Reinstated));
    assert_eq!(pool.states()[0], KeyState::Valid);
    assert_eq!(peer.limit(0).state().operator_acts, 0);
}

#[test]
fn marks_from_before_a_reinstatement_elsewhere_have_no_effect() {
    let pool = pool();
    let late = pool.keys().next().unwrap();
    let peer = PeerPool::new(Arc::clone(&pool));
    hear(&peer, 0, Heard::Reinstated);
    late.mark_permanent();
    assert_eq!(pool.states()[0], KeyState::Valid);
}

#[test]
fn only_what_operators_do_applies_to_a_later_generation() {
    let pool = pool();
    let peer = PeerPool::new(Arc::clone(&pool));
    let seen = peer.limit(2).state().generation;
    pool.reinstate("c").unwrap();
    let reason = Reason::Unauthorized;
    assert!(!peer.limit(2).hear(seen, rate_limited(FIVE_SECONDS)));
    assert!(!peer.limit(2).hear(seen, Heard::Refused { reason }));
    assert!(peer.limit(2).hear(seen, Heard::Disabled));
}

#[test]
fn acts_of_operators_are_counted() {
    let pool = pool();
    let peer = PeerPool::new(Arc::clone(&pool));
    pool.disable("a").unwrap();
    pool.reinstate("a").unwrap();
    let acts: Vec<_> = peer
        .limits()
        .map(|limit| limit.state().operator_acts)
        .collect();
    assert_eq!(acts, [2, 0, 0, 1], "a reinstatement includes the group");
}

#[test]
fn several_changes_wake_once_and_none_is_lost() {
    let pool = pool();
    let mut peer = PeerPool::new(Arc::clone(&pool));
    assert!(peer.changed().now_or_never().is_none());
    let key = pool.keys().next().unwrap();
    key.mark_temporary(Some(FIVE_SECONDS));
    key.mark_permanent();
    pool.reinstate("a").unwrap();
    assert!(peer.changed().now_or_never().is_some());
    assert!(peer.changed().now_or_never().is_none());
}

#[tokio::test]
async fn a_change_wakes_a_task_that_waits_for_it() {
    let pool = pool();
    let mut peer = PeerPool::new(Arc::clone(&pool));
    let waiting = tokio::spawn(async move { peer.changed().await });
    tokio::task::yield_now().await;
    pool.disable("b").unwrap();
    waiting.await.unwrap();
}

#[test]
fn a_new_list_of_keys_is_noticed() {
    let pool = pool();
    let mut peer = PeerPool::new(Arc::clone(&pool));
    assert!(!peer.refresh());
    pool.add_key("key-d").unwrap();
    assert!(peer.changed().now_or_never().is_some());
    assert!(peer.refresh());
    assert_eq!(peer.limits().len(), 5);
    pool.replace_secret("a", "key-a-2").unwrap();
    assert!(peer.refresh());
    assert!(!peer.refresh());
}
