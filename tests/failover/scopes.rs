//! Limits that apply to one scope of a key, such as a model.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use test_support::body::{Source, chunked};
use test_support::harness::{Harness, MockResponse, SECOND, cooling_down, key};
use test_support::mock::{Body, layer, pool, response, response_with, stack};
use tokio::time::advance;
use tokio_test::task;
use tower::ServiceExt;
use tower_key_failover::pool::{KeyPool, KeyState};

use crate::scoped_requests::{keys, limited, no_access, of};

fn ok() -> MockResponse {
    response(200)
}

/// The keys `k0` and `k1` with the labels `a` and `b`.
fn labeled() -> Arc<KeyPool> {
    let pool = KeyPool::builder().labeled_key("a", "k0");
    Arc::new(pool.labeled_key("b", "k1").build().unwrap())
}

fn all_valid(pool: &KeyPool) -> bool {
    pool.states().iter().all(|state| *state == KeyState::Valid)
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_a_scope_leaves_the_key_to_other_scopes() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    assert_eq!(
        keys(&mut provider, "hot", [limited("5"), ok()]),
        ["k0", "k1"]
    );
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k1"]);
    assert_eq!(keys(&mut provider, "cold", [ok()]), ["k0"]);
    assert_eq!(provider.keys([ok()]), ["k0"]);
    assert!(all_valid(&pool));
    advance(5 * SECOND).await;
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_a_request_without_a_scope_concerns_the_key() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    assert_eq!(provider.keys([limited("5"), ok()]), ["k0", "k1"]);
    assert_eq!(pool.states(), [cooling_down(5 * SECOND), KeyState::Valid]);
    assert_eq!(keys(&mut provider, "any", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_the_key_concerns_all_scopes() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let of_key = response_with(429, &[("retry-after", "5")], "");
    assert_eq!(keys(&mut provider, "a", [of_key, ok()]), ["k0", "k1"]);
    assert_eq!(keys(&mut provider, "b", [ok()]), ["k1"]);
    assert_eq!(provider.keys([ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn exhaustion_and_retry_after_are_those_of_the_scope() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let (keys, response) = provider.run_request(of("hot"), [limited("9"), limited("5")]);
    assert_eq!(keys, ["k0", "k1"]);
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (429, &"5".parse().unwrap())
    );
    // The next one makes no attempt.
    let (keys, response) = provider.run_request(of("hot"), []);
    assert!(keys.is_empty());
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (429, &"5".parse().unwrap())
    );
    advance(SECOND).await;
    let (_, response) = provider.run_request(of("hot"), []);
    assert_eq!(response.headers()["retry-after"], "4");
    assert_eq!(self::keys(&mut provider, "cold", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cools_down_itself_counts_for_the_retry_after_of_a_scope() {
    let pool = pool(["k0"]);
    let mut provider = Harness::new(&layer(&pool));
    let (_, response) = provider.run_request(of("hot"), [limited("5")]);
    assert_eq!(response.headers()["retry-after"], "5");
    key(&pool, 0).mark_temporary(Some(20 * SECOND));
    let (_, response) = provider.run_request(of("hot"), []);
    assert_eq!(response.headers()["retry-after"], "20");
    let (_, response) = provider.run_request(of("cold"), []);
    assert_eq!(response.headers()["retry-after"], "20");
}

#[tokio::test(start_paused = true)]
async fn a_second_scope_that_is_limited_within_a_second_cools_the_key_down() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    keys(&mut provider, "a", [limited("30"), ok()]);
    advance(Duration::from_millis(900)).await;
    keys(&mut provider, "b", [limited("20"), ok()]);
    assert_eq!(pool.states()[1], KeyState::Valid);
    assert!(
        matches!(pool.states()[0], KeyState::Temporary { .. }),
        "{:?}",
        pool.states()
    );
    assert_eq!(keys(&mut provider, "c", [ok()]), ["k1"]);
    assert_eq!(provider.keys([ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_with_two_limited_scopes_cools_down_for_the_shorter_of_the_two_waits() {
    for [first, second] in [["2", "86400"], ["86400", "2"]] {
        let pool = pool(["k0", "k1"]);
        let mut provider = Harness::new(&layer(&pool));
        keys(&mut provider, "a", [limited(first), ok()]);
        keys(&mut provider, "b", [limited(second), ok()]);
        assert_eq!(pool.states(), [cooling_down(2 * SECOND), KeyState::Valid]);
        advance(2 * SECOND).await;
        assert_eq!(keys(&mut provider, "c", [ok()]), ["k0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_scope_that_is_limited_later_leaves_the_key_valid() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    keys(&mut provider, "a", [limited("30"), ok()]);
    advance(Duration::from_millis(1100)).await;
    keys(&mut provider, "b", [limited("30"), ok()]);
    assert!(all_valid(&pool));
    assert_eq!(keys(&mut provider, "c", [ok()]), ["k0"]);
    assert_eq!(keys(&mut provider, "a", [ok()]), ["k1"]);
    assert_eq!(keys(&mut provider, "b", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_rate_limit_of_a_scope_that_cools_down_already_does_not_concern_the_key() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let mut late = provider.send_request(of("a"));
    let attempt = provider.next_attempt();
    keys(&mut provider, "a", [limited("30"), ok()]);
    advance(Duration::from_millis(600)).await;
    attempt.respond(limited("20"));
    assert!(late.is_pending());
    provider.next_attempt().respond(ok());
    advance(Duration::from_millis(500)).await;
    keys(&mut provider, "b", [limited("30"), ok()]);
    assert!(all_valid(&pool));
}

#[tokio::test(start_paused = true)]
async fn the_same_scope_that_is_limited_twice_leaves_the_key_valid() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let mut first = provider.send_request(of("a"));
    let mut second = provider.send_request(of("a"));
    let attempts = [provider.next_attempt(), provider.next_attempt()];
    for attempt in attempts {
        attempt.respond(limited("30"));
    }
    assert!(first.is_pending() && second.is_pending());
    assert!(all_valid(&pool));
    for attempt in [provider.next_attempt(), provider.next_attempt()] {
        assert_eq!(attempt.key, "k1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_scope_is_marked_once_another_key_succeeds_with_it() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    assert_eq!(keys(&mut provider, "m", [no_access(), ok()]), ["k0", "k1"]);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k1"]);
    assert_eq!(keys(&mut provider, "other", [ok()]), ["k0"]);
    assert_eq!(provider.keys([ok()]), ["k0"]);
    assert!(all_valid(&pool));
    // The mark expires.
    advance(Duration::from_secs(599)).await;
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k1"]);
    advance(2 * SECOND).await;
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_scope_is_not_marked_if_no_other_key_succeeds() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    for last in [no_access(), response(500), response(404)] {
        let (keys, _) = provider.run_request(of("m"), [no_access(), last]);
        assert_eq!(keys, ["k0", "k1"]);
    }
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_success_with_the_refused_key_in_between_prevents_the_mark() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let mut odd = provider.send_request(of("m"));
    provider.next_attempt().respond(no_access());
    assert!(odd.is_pending());
    let second = provider.next_attempt();
    assert_eq!(second.key, "k1");
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
    second.respond(ok());
    assert_eq!(odd.status(), 200);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_success_with_another_scope_does_not_prevent_the_mark() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let mut odd = provider.send_request(of("m"));
    provider.next_attempt().respond(no_access());
    assert!(odd.is_pending());
    let second = provider.next_attempt();
    assert_eq!(keys(&mut provider, "other", [ok()]), ["k0"]);
    second.respond(ok());
    assert_eq!(odd.status(), 200);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_request_without_a_scope_marks_nothing() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    assert_eq!(provider.keys([no_access(), ok()]), ["k0", "k1"]);
    assert_eq!(provider.keys([ok()]), ["k0"]);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_no_working_key_may_use_is_exhausted() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut provider = Harness::new(&layer(&pool));
    assert_eq!(keys(&mut provider, "m", [no_access(), ok()]), ["k0", "k1"]);
    // The keys that may use it are dead.
    key(&pool, 1).mark_permanent();
    key(&pool, 2).mark_permanent();
    let (_, response) = provider.run_request(of("m"), []);
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "600");
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_reopens_admits_few_requests_at_first() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    keys(&mut provider, "hot", [limited("5"), ok()]);
    advance(5 * SECOND).await;
    let mut first = provider.send_request(of("hot"));
    let probe = provider.next_attempt();
    assert_eq!(probe.key, "k0");
    // Others use another key until it succeeds.
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k1"]);
    // Other scopes are unaffected.
    assert_eq!(keys(&mut provider, "cold", [ok()]), ["k0"]);
    probe.respond(ok());
    assert_eq!(first.status(), 200);
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_its_scope_and_blocks_no_other_scope() {
    let pool = pool(["k0"]);
    let mut provider = Harness::new(&layer(&pool).wait_for_key(60 * SECOND));
    let mut hot = provider.send_request(of("hot"));
    provider.next_attempt().respond(limited("10"));
    assert!(hot.is_pending());
    assert!(provider.try_next_attempt().is_none());
    // Requests with other scopes do not queue up behind it.
    assert_eq!(keys(&mut provider, "cold", [ok()]), ["k0"]);
    assert_eq!(provider.keys([ok()]), ["k0"]);
    advance(10 * SECOND).await;
    assert!(hot.is_woken());
    assert!(hot.is_pending());
    provider.next_attempt().respond(ok());
    assert_eq!(hot.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn places_of_a_capped_key_are_not_left_to_requests_that_wait_for_another_scope() {
    let pool = KeyPool::builder().key("k0").max_in_flight(10).build();
    let pool = Arc::new(pool.unwrap());
    let mut provider = Harness::new(&layer(&pool).wait_for_key(60 * SECOND));
    let mut hot = provider.send_request(of("hot"));
    provider.next_attempt().respond(limited("50"));
    assert!(hot.is_pending());
    for scope in ["cold", "cool"] {
        let mut other = provider.send_request(of(scope));
        provider.next_attempt().respond(ok());
        assert_eq!(other.status(), 200);
    }
    assert!(hot.is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_learns_when_its_scope_opens_if_an_abandoned_response_closes_it() {
    let pool = KeyPool::builder().key("k0").max_in_flight(1).build();
    let pool = Arc::new(pool.unwrap());
    let layer = layer(&pool).wait_for_key(20 * SECOND);
    let (service, mut refusing) = stack::<_, Body, Source>(&layer);
    let mut abandoned = task::spawn(service.into_inner().oneshot(of("hot")));
    assert!(abandoned.poll().is_pending());
    let Poll::Ready(Some((_, reply))) = refusing.poll_request() else {
        panic!("the provider is sent an attempt");
    };
    let mut provider = Harness::new(&layer);
    let mut waiting = provider.send_request(of("hot"));
    let (body, _remote) = chunked();
    let headers = [
        ("retry-after", "1"),
        ("x-in-scope", ""),
        ("x-say", "inspect, status"),
    ];
    reply.send_response(response_with(429, &headers, "").map(|_| body));
    assert!(abandoned.poll().is_pending());
    drop(abandoned);
    assert_eq!(scopes(&pool), 1);
    assert!(waiting.is_woken());
    assert!(waiting.is_pending());
    advance(SECOND).await;
    assert!(waiting.is_woken());
    assert!(waiting.is_pending());
    assert_eq!(provider.next_attempt().key, "k0");
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_is_open_in_all_scopes() {
    let pool = labeled();
    let mut provider = Harness::new(&layer(&pool));
    keys(&mut provider, "hot", [limited("50"), ok()]);
    assert!(pool.reinstate("a").unwrap());
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_a_scope_concerns_the_group() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org")
        .key("k2")
        .build();
    let pool = Arc::new(pool.unwrap());
    let mut provider = Harness::new(&layer(&pool));
    assert_eq!(
        keys(&mut provider, "hot", [limited("5"), ok()]),
        ["k0", "k2"]
    );
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k2"]);
    assert_eq!(keys(&mut provider, "cold", [ok()]), ["k0"]);
}

/// A pool whose first key has `len` marked scopes, each of which ends a second after the one before.
async fn marked(len: usize, mark: impl Fn() -> MockResponse) -> (Arc<KeyPool>, Harness) {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    for n in 0..len {
        advance(Duration::from_millis(1001)).await;
        keys(&mut provider, &format!("model-{n}"), [mark(), ok()]);
    }
    (pool, provider)
}

fn scopes(pool: &KeyPool) -> usize {
    pool.snapshot().keys[0].scopes.len()
}

#[tokio::test(start_paused = true)]
async fn a_key_has_at_most_64_marked_scopes_and_loses_the_mark_that_ends_first() {
    let (pool, mut provider) = marked(64, || limited("1000")).await;
    assert_eq!(scopes(&pool), 64);
    advance(2 * SECOND).await;
    keys(&mut provider, "another", [limited("1000"), ok()]);
    assert_eq!(scopes(&pool), 64);
    assert_eq!(keys(&mut provider, "another", [ok()]), ["k1"]);
    assert_eq!(keys(&mut provider, "model-0", [ok()]), ["k0"]);
    assert_eq!(keys(&mut provider, "model-1", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_takes_the_place_of_a_refused_scope() {
    let (pool, mut provider) = marked(64, no_access).await;
    assert_eq!(scopes(&pool), 64);
    keys(&mut provider, "hot", [limited("5"), ok()]);
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k1"]);
    assert_eq!(keys(&mut provider, "model-0", [ok()]), ["k0"]);
    assert_eq!(keys(&mut provider, "model-1", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_scope_never_takes_the_place_of_a_rate_limit() {
    let (pool, mut provider) = marked(64, || limited("1000")).await;
    assert_eq!(keys(&mut provider, "m", [no_access(), ok()]), ["k0", "k1"]);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
    assert_eq!(scopes(&pool), 64);
    assert_eq!(keys(&mut provider, "model-0", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_works_again_leaves_nothing_behind() {
    let (pool, mut provider) = marked(3, || limited("5")).await;
    advance(5 * SECOND).await;
    assert_eq!(scopes(&pool), 0);
    for _ in 0..20 {
        assert_eq!(keys(&mut provider, "model-2", [ok()]), ["k0"]);
    }
    // A refusal that convicts no key leaves nothing behind either.
    provider.run_request(of("m"), [no_access(), no_access()]);
    assert_eq!(scopes(&pool), 0);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_a_rate_limit_does_not_lift_it() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let mut early = provider.send_request(of("hot"));
    let attempt = provider.next_attempt();
    keys(&mut provider, "hot", [limited("5"), ok()]);
    attempt.respond(ok());
    assert_eq!(early.status(), 200);
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_rate_limit_has_no_effect_after_an_operator_reinstated_the_key() {
    let pool = labeled();
    let mut provider = Harness::new(&layer(&pool));
    let mut late = provider.send_request(of("hot"));
    let attempt = provider.next_attempt();
    pool.reinstate("a").unwrap();
    attempt.respond(limited("50"));
    assert!(late.is_pending());
    assert_eq!(scopes(&pool), 0);
    assert_eq!(provider.next_attempt().key, "k1");
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_old_secret_does_not_concern_the_new_one() {
    let pool = labeled();
    let mut provider = Harness::new(&layer(&pool));
    let mut odd = provider.send_request(of("m"));
    provider.next_attempt().respond(no_access());
    assert!(odd.is_pending());
    pool.replace_secret("a", "k0-new").unwrap();
    provider.next_attempt().respond(ok());
    assert_eq!(odd.status(), 200);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0-new"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_convicts_no_key() {
    let pool = pool(["k0", "k1"]);
    let mut provider = Harness::new(&layer(&pool));
    let mut odd = provider.send_request(of("m"));
    provider.next_attempt().respond(no_access());
    assert!(odd.is_pending());
    drop(odd);
    drop(provider.next_attempt());
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
}

#[cfg(feature = "events")]
#[tokio::test(start_paused = true)]
async fn an_event_names_the_scope() {
    use tower_key_failover::pool::{PoolEvent, Reason};

    let pool = pool(["k0", "k1"]);
    let mut events = pool.subscribe();
    let mut provider = Harness::new(&layer(&pool));
    keys(&mut provider, "hot", [limited("5"), ok()]);
    keys(&mut provider, "m", [no_access(), ok()]);
    let hot = (
        Some("hot".to_owned()),
        cooling_down(5 * SECOND),
        Reason::RateLimited,
    );
    let minutes = cooling_down(Duration::from_secs(600));
    let m = (Some("m".to_owned()), minutes, Reason::Forbidden);
    for expected in [hot, m] {
        let Some(PoolEvent::Marked {
            scope,
            state,
            reason,
            ..
        }) = events.next_event().await
        else {
            panic!("a mark is an event");
        };
        let scope = scope.map(|scope| scope.as_str().to_owned());
        assert_eq!((scope, state, reason), expected);
    }
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn marks_of_scopes_are_saved_and_restored() {
    use tower_key_failover::pool::SavedPool;

    let build = || {
        let pool = KeyPool::builder()
            .key("k0")
            .key("k1")
            .group("org")
            .key("k2")
            .group("org");
        Arc::new(pool.key("k3").build().unwrap())
    };
    let before = build();
    let mut provider = Harness::new(&layer(&before));
    let hot = provider
        .run_request(of("hot"), [limited("50"), limited("40"), ok()])
        .0;
    assert_eq!(hot, ["k0", "k1", "k3"]);
    keys(&mut provider, "m", [no_access(), ok()]);
    let saved = serde_json::to_string(&before.save()).unwrap();

    let after = build();
    let saved: SavedPool = serde_json::from_str(&saved).unwrap();
    after.restore(&saved);
    assert_eq!(after.snapshot().keys[0].scopes.len(), 2);
    let mut provider = Harness::new(&layer(&after));
    assert_eq!(keys(&mut provider, "hot", [ok()]), ["k3"]);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k1"]);
    assert_eq!(keys(&mut provider, "cold", [ok()]), ["k0"]);
}

/// Restores a full table, and asserts that a rate limit takes the place of the mark of `m`.
#[cfg(feature = "serde")]
async fn assert_restored_as_refusal(before: &KeyPool) {
    let after = pool(["k0", "k1"]);
    after.restore(&before.save());
    assert_eq!(scopes(&after), 64);
    let mut provider = Harness::new(&layer(&after));
    advance(2 * SECOND).await;
    keys(&mut provider, "another", [limited("1000"), ok()]);
    assert_eq!(keys(&mut provider, "m", [ok()]), ["k0"]);
    assert_eq!(keys(&mut provider, "model-0", [ok()]), ["k1"]);
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn rate_limits_take_the_place_of_a_restored_refusal_of_a_scope() {
    let (before, mut provider) = marked(63, || limited("100")).await;
    // Access can be refused with any status.
    let no_such_model = response_with(404, &[("x-say", "keep"), ("x-in-scope", "")], "");
    keys(&mut provider, "m", [no_such_model, ok()]);

    assert_restored_as_refusal(&before).await;
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_refusal_that_outlasts_the_rate_limit_of_its_scope_is_restored_as_a_refusal() {
    let (before, mut provider) = marked(63, || limited("100")).await;
    advance(2 * SECOND).await;
    let mut refused = provider.send_request(of("m"));
    let refusal = provider.next_attempt();
    keys(&mut provider, "m", [limited("10"), ok()]);
    refusal.respond(no_access());
    assert!(refused.is_pending());
    provider.next_attempt().respond(ok());
    assert_eq!(refused.status(), 200);

    assert_restored_as_refusal(&before).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_scopes_leave_a_bounded_number_of_marks() {
    let pool = pool(["k0"]);
    let mut provider = Harness::new(&layer(&pool));
    for n in 0..10_000 {
        // Far enough apart to be no limit of the whole key.
        advance(Duration::from_millis(1001)).await;
        let (_, response) = provider.run_request(of(&format!("model-{n}")), [limited("100000")]);
        assert_eq!(response.status(), 429);
    }
    assert_eq!(pool.states(), [KeyState::Valid]);
    assert!(scopes(&pool) <= 64);
    // The latest ones are marked.
    let (attempts, _) = provider.run_request(of("model-9999"), []);
    assert!(attempts.is_empty());
    let (attempts, _) = provider.run_request(of("model-0"), [ok()]);
    assert_eq!(attempts, ["k0"]);
}
