//! How much each key is used.

use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, SECOND, keep, rate_limited};
use test_support::mock::{layer, request, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyChoice, KeyPool, KeyUsage, NewKey, PickedBy, Reason};

fn pool() -> Arc<KeyPool> {
    let pool = KeyPool::builder().key("k0").key("k1");
    Arc::new(pool.track_usage(true).build().unwrap())
}

fn usage(pool: &KeyPool, at: usize) -> KeyUsage {
    pool.snapshot().keys[at].usage.clone().unwrap()
}

#[tokio::test(start_paused = true)]
async fn usage_is_not_counted_by_default() {
    let pool = KeyPool::new(["k0"]).unwrap();
    assert_eq!(pool.snapshot().keys[0].usage, None);
}

#[tokio::test(start_paused = true)]
async fn forwarded_responses_are_counted_with_any_status() {
    let pool = pool();
    let mut harness = Harness::new(&layer(&pool));
    for status in [200, 404, 500] {
        harness.run([response(status)]);
    }
    assert_eq!((usage(&pool, 0).served, usage(&pool, 1).served), (3, 0));
    assert!(usage(&pool, 0).refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_reason() {
    let pool = pool();
    let mut harness = Harness::new(&layer(&pool));
    for refusal in [keep(), rate_limited("1"), rate_limited("1"), response(401)] {
        harness.keys([refusal, response(200)]);
        advance(SECOND).await;
    }
    assert_eq!(
        usage(&pool, 0).refused,
        [
            (Reason::RateLimited, 2),
            (Reason::Unauthorized, 1),
            (Reason::Forbidden, 1)
        ]
    );
    assert_eq!((usage(&pool, 0).served, usage(&pool, 1).served), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_the_reason_why_their_key_was_picked() {
    let keys = [NewKey::new("k0").label("a"), NewKey::new("k1").label("b")];
    let pool = pool();
    pool.replace_keys(keys).unwrap();
    let mut harness = Harness::new(&layer(&pool));
    let mut send = |choice: KeyChoice, responses: &[u16]| {
        let mut request = request("one");
        request.extensions_mut().insert(choice);
        let mut sent = harness.send_request(request);
        for status in responses {
            harness.next_attempt().respond(response(*status));
            assert!(responses.len() == 1 || sent.is_woken());
            let _ = sent.is_pending();
        }
    };
    send(KeyChoice::new(), &[200]);
    send(KeyChoice::new().pin_key("b"), &[200]);
    for session in 0..20 {
        send(KeyChoice::new().affinity(session), &[200]);
    }
    let picked = |at| usage(&pool, at).picked;
    let of = |at, by| {
        picked(at)
            .iter()
            .find(|(other, _)| *other == by)
            .map_or(0, |it| it.1)
    };
    assert_eq!(
        (of(0, PickedBy::Selection), of(1, PickedBy::Selection)),
        (1, 0)
    );
    assert_eq!((of(0, PickedBy::Pin), of(1, PickedBy::Pin)), (0, 1));
    assert!(of(0, PickedBy::Affinity) > 0 && of(1, PickedBy::Affinity) > 0);
    assert_eq!(of(0, PickedBy::Affinity) + of(1, PickedBy::Affinity), 20);

    pool.keys().next().unwrap().mark_permanent();
    advance(91 * SECOND).await;
    // The probe is refused, and the request goes on.
    send(KeyChoice::new(), &[401, 200]);
    assert_eq!(of(0, PickedBy::Probe), 1);
    assert_eq!(of(1, PickedBy::Selection), 1);
}

#[tokio::test(start_paused = true)]
async fn usage_shows_the_time_since_a_keys_last_response() {
    let pool = pool();
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(usage(&pool, 0).last_used, None);
    harness.run([response(200)]);
    advance(3 * SECOND).await;
    assert_eq!(usage(&pool, 0).last_used, Some(3 * SECOND));
    harness.keys([response(401), response(200)]);
    assert_eq!(usage(&pool, 0).last_used, Some(Duration::ZERO));
    assert_eq!(usage(&pool, 1).last_used, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn usage_counts_stay_with_a_key_across_reloads() {
    let pool = pool();
    Harness::new(&layer(&pool)).run([response(200)]);
    pool.replace_keys([NewKey::new("k1"), NewKey::new("k0").label("moved")])
        .unwrap();
    assert_eq!((usage(&pool, 0).served, usage(&pool, 1).served), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn transport_errors_and_dropped_requests_count_as_attempts_alone() {
    let pool = pool();
    let mut harness = Harness::new(&layer(&pool));
    let mut failing = harness.send();
    harness.next_attempt().fail("connection reset");
    assert!(failing.result().is_err());
    drop(harness.send());
    assert_eq!(
        (usage(&pool, 0).served, usage(&pool, 0).last_used),
        (0, None)
    );
    assert_eq!(usage(&pool, 0).picked, [(PickedBy::Selection, 2)]);
}
