//! Rate limits of scopes that another process heard of first.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Heard, LimitedScope, PeerPool};
use crate::pool::reason::{Cause, Reason};
use crate::pool::{Key, KeyPool, KeyState, Scope};

const MINUTE: Duration = Duration::from_secs(60);

fn scope(name: &str) -> Scope {
    Scope::new(name).unwrap()
}

/// Two keys of one group.
fn pool() -> (Arc<KeyPool>, PeerPool) {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = Arc::new(pool.max_cooldown(MINUTE).build().unwrap());
    (Arc::clone(&pool), PeerPool::new(pool))
}

fn limited(name: &str, remaining: Duration) -> Heard {
    Heard::ScopeCoolingDown {
        scope: scope(name),
        remaining,
        age: Duration::ZERO,
        reason: Reason::RateLimited,
    }
}

fn hear(peer: &PeerPool, position: usize, heard: Heard) -> bool {
    let limit = peer.limit(position);
    limit.hear(limit.state().generation, heard)
}

fn key(pool: &KeyPool, scope: &Scope) -> Key {
    pool.keys().next().unwrap().for_scope(Some(scope))
}

fn cause(reason: Reason) -> Cause {
    let status = Some(StatusCode::TOO_MANY_REQUESTS);
    Cause { reason, status }
}

fn scopes(peer: &PeerPool, position: usize) -> Vec<(String, u64)> {
    let limited = peer.limit(position).limited_scopes().into_iter();
    let each = limited.map(
        |LimitedScope {
             scope, remaining, ..
         }| { (scope.as_str().to_owned(), remaining.as_secs()) },
    );
    each.collect()
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_a_scope_is_shown_with_the_key_and_with_its_group() {
    let (pool, peer) = pool();
    key(&pool, &scope("m")).cool_down_in(Some(&scope("m")), Some(MINUTE / 2), cause(Reason::Quota));
    let expected = [("m".to_owned(), 30)];
    assert_eq!(scopes(&peer, 0), expected);
    assert_eq!(scopes(&peer, 1), []);
    assert_eq!(scopes(&peer, 2), expected);
    assert_eq!(peer.limit(0).limited_scopes()[0].reason, Reason::Quota);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_a_scope_that_is_heard_closes_the_scope_alone_up_to_the_maximum() {
    let (pool, peer) = pool();
    assert!(hear(&peer, 0, limited("m", 2 * MINUTE)));
    assert!(!hear(&peer, 0, limited("m", MINUTE / 2)));
    assert_eq!(scopes(&peer, 0), [("m".to_owned(), 60)]);
    let marked = &pool.snapshot().keys[0].scopes;
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].scope, scope("m"));
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    assert_eq!(scopes(&peer, 2), []);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_just_after_another_process_was_refused_in_another_scope_concerns_the_key() {
    for (age, is_same_limit) in [(500, true), (1500, false)] {
        let (pool, peer) = pool();
        let heard = Heard::ScopeCoolingDown {
            scope: scope("m"),
            remaining: MINUTE / 2,
            age: Duration::from_millis(age),
            reason: Reason::RateLimited,
        };
        tokio::time::advance(MINUTE).await;
        assert!(hear(&peer, 0, heard));
        assert_eq!(pool.states()[0], KeyState::Valid);
        key(&pool, &scope("n")).cool_down_in(
            Some(&scope("n")),
            Some(MINUTE),
            cause(Reason::RateLimited),
        );
        let is_closed = pool.states()[0] != KeyState::Valid;
        assert_eq!(is_closed, is_same_limit, "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn scopes_that_are_heard_one_after_the_other_say_nothing_of_the_key() {
    let (pool, peer) = pool();
    for name in ["m", "n", "o"] {
        assert!(hear(&peer, 0, limited(name, MINUTE)));
    }
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_access_are_not_shown_even_if_the_scope_was_rate_limited_before() {
    let (pool, peer) = pool();
    let scope = scope("m");
    let doubt = key(&pool, &scope).doubt_scope(&scope).unwrap();
    key(&pool, &scope).cool_down_in(Some(&scope), Some(MINUTE / 6), cause(Reason::RateLimited));
    doubt.convict(cause(Reason::Forbidden));
    assert_eq!(scopes(&peer, 0), [("m".to_owned(), 10)]);
    tokio::time::advance(MINUTE / 5).await;
    assert_eq!(pool.snapshot().keys[0].scopes.len(), 1);
    assert_eq!(scopes(&peer, 0), []);
}

#[tokio::test(start_paused = true)]
async fn rate_limits_that_are_heard_take_the_place_of_refusals_of_access_and_never_the_reverse() {
    let (pool, peer) = pool();
    let refused = scope("no-access");
    let doubt = key(&pool, &refused).doubt_scope(&refused).unwrap();
    doubt.convict(cause(Reason::Forbidden));
    for n in 0..100 {
        hear(&peer, 0, limited(&format!("m{n}"), MINUTE));
    }
    assert_eq!(scopes(&peer, 0).len(), 64);
    let is_marked = |name: &Scope| {
        let marked = &pool.snapshot().keys[0].scopes;
        marked.iter().any(|marked| marked.scope == *name)
    };
    assert!(!is_marked(&refused));
    assert!(key(&pool, &refused).doubt_scope(&refused).is_none());
    assert!(is_marked(&scope("m99")));
}

#[tokio::test(start_paused = true)]
async fn a_reinstatement_elsewhere_opens_the_scopes_of_the_key() {
    let (pool, peer) = pool();
    hear(&peer, 0, limited("m", MINUTE));
    let seen = peer.limit(0).state().generation;
    assert!(peer.limit(0).hear(seen, Heard::Reinstated));
    assert_eq!(pool.snapshot().keys[0].scopes.len(), 0);
    // A rate limit from before the reinstatement.
    assert!(!peer.limit(0).hear(seen, limited("m", MINUTE)));
}
