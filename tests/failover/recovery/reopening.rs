//! A key whose cooldown is over admits a few requests, and more with each proof that it works.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{
    Harness, InFlight, MILLI, SECOND, SentAttempt, keep, key, rate_limited,
};
use test_support::mock::{layer, response};
use tokio::time::{Instant, advance};
use tower_key_failover::pool::{KeyPool, KeyPoolBuilder, KeyState};

/// An attempt without a verdict counts against the allowance for so long. After that, it is a proof.
const SILENCE: Duration = Duration::from_millis(250);
/// After so many proofs, all requests can use the key.
const PROOFS: usize = 16;

fn two_keys() -> KeyPoolBuilder {
    KeyPool::builder().key("k0").key("k1")
}

/// A pool whose first key has just returned.
async fn returned(builder: KeyPoolBuilder) -> (Arc<KeyPool>, Harness) {
    let pool = Arc::new(builder.build().unwrap());
    key(&pool, 0).mark_temporary(Some(SECOND));
    advance(SECOND).await;
    let harness = Harness::new(&layer(&pool));
    (pool, harness)
}

/// Sends so many requests at once. None of them gets a response, and all stay in flight.
#[must_use]
fn storm(harness: &mut Harness, requests: usize) -> (Vec<String>, Vec<(InFlight, SentAttempt)>) {
    let in_flight: Vec<_> = (0..requests)
        .map(|_| {
            let request = harness.send();
            (request, harness.next_attempt())
        })
        .collect();
    let keys = in_flight.iter().map(|(_, sent)| sent.key.clone());
    (keys.collect(), in_flight)
}

/// How many of so many simultaneous requests use the first key.
fn admitted(harness: &mut Harness, requests: usize) -> usize {
    let (keys, _in_flight) = storm(harness, requests);
    keys.iter().filter(|key| *key == "k0").count()
}

/// Sends two requests per second for two minutes to a key whose first request is rate-limited for a
/// second, and whose responses take a minute. Returns how many requests are served within these two
/// minutes, and how many are refused.
async fn slow_responses(wait_for_key: Option<Duration>) -> (usize, usize) {
    let pool = Arc::new(KeyPool::new(["k0"]).unwrap());
    let layer = layer(&pool);
    let layer = match wait_for_key {
        Some(time) => layer.wait_for_key(time),
        None => layer,
    };
    let mut harness = Harness::new(&layer);
    let mut requests: Vec<InFlight> = Vec::new();
    let mut attempts: VecDeque<(Instant, SentAttempt)> = VecDeque::new();
    let (mut served, mut refused, mut is_first) = (0, 0, true);
    for tick in 0..1200 {
        if tick % 5 == 0 {
            requests.push(harness.send());
        }
        let now = Instant::now();
        while attempts.front().is_some_and(|(due, _)| *due <= now) {
            attempts.pop_front().unwrap().1.respond(response(200));
        }
        for _ in 0..100 {
            if !requests.iter().any(InFlight::is_woken) {
                break;
            }
            requests
                .iter_mut()
                .filter(|it| it.is_woken())
                .for_each(InFlight::poll);
        }
        while let Some(sent) = harness.try_next_attempt() {
            if std::mem::take(&mut is_first) {
                sent.respond(rate_limited("1"));
            } else {
                attempts.push_back((now + 60 * SECOND, sent));
            }
        }
        requests.retain_mut(|request| {
            let is_pending = request.is_pending();
            if !is_pending {
                match request.status() {
                    200 => served += 1,
                    _ => refused += 1,
                }
            }
            is_pending
        });
        advance(100 * MILLI).await;
    }
    (served, refused)
}

#[tokio::test(start_paused = true)]
async fn waiting_serves_no_fewer_requests_if_responses_take_longer_than_the_wait() {
    let (served, refused) = slow_responses(None).await;
    // One request has the 429, and two or three arrive during the cooldown.
    assert!(refused <= 4, "{refused}");
    let (served_with_waiting, refused_with_waiting) = slow_responses(Some(10 * SECOND)).await;
    assert_eq!(refused_with_waiting, 0);
    assert!(
        served_with_waiting >= served,
        "{served_with_waiting} instead of {served}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_request_tries_a_recovered_key_while_others_use_another() {
    let (_, mut harness) = returned(two_keys()).await;
    assert_eq!(storm(&mut harness, 4).0, ["k0", "k1", "k1", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn each_success_admits_one_more_request_until_a_key_is_fully_open() {
    let (_, mut harness) = returned(two_keys()).await;
    for proofs in 1..PROOFS {
        // Renews the budget after which tokio's channels make a task yield.
        tokio::task::yield_now().await;
        assert_eq!(harness.keys([response(200)]), ["k0"]);
        // Attempts without a verdict become proofs only by their age.
        let (keys, in_flight) = storm(&mut harness, proofs + 3);
        let admitted = keys.iter().filter(|key| *key == "k0").count();
        assert_eq!(admitted, proofs + 1, "after {proofs} successes");
        for (mut request, sent) in in_flight {
            sent.fail("connection reset");
            assert!(request.result().is_err());
        }
    }
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(admitted(&mut harness, 4 * PROOFS), 4 * PROOFS);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_not_refused_for_250_ms_admits_one_more_request() {
    let (_, mut harness) = returned(two_keys()).await;
    let (keys, _hanging) = storm(&mut harness, 1);
    assert_eq!(keys, ["k0"]);
    advance(SILENCE - MILLI).await;
    assert_eq!(storm(&mut harness, 2).0, ["k1", "k1"]);
    advance(MILLI).await;
    let (keys, _hanging) = storm(&mut harness, 3);
    assert_eq!(keys, ["k0", "k0", "k1"]);
    advance(SILENCE).await;
    assert_eq!(storm(&mut harness, 5).0, ["k0", "k0", "k0", "k0", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_success_after_its_silence_was_counted_is_no_second_proof() {
    let (_, mut harness) = returned(two_keys()).await;
    let (_, mut hanging) = storm(&mut harness, 1);
    advance(SILENCE).await;
    let (mut request, sent) = hanging.remove(0);
    let (keys, _another) = storm(&mut harness, 1);
    assert_eq!(keys, ["k0"], "the silence is counted");
    sent.respond(response(200));
    assert_eq!(request.status(), 200);
    // Two places, and the attempt above has one of them.
    assert_eq!(admitted(&mut harness, 3), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_hangs_opens_fully_within_two_seconds() {
    let (_, mut harness) = returned(two_keys()).await;
    let mut hanging = Vec::new();
    for _ in 0..8 {
        hanging.push(storm(&mut harness, 4 * PROOFS));
        advance(SILENCE).await;
    }
    assert_eq!(admitted(&mut harness, 4 * PROOFS), 4 * PROOFS);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_takes_back_all_proofs_of_a_recovered_key() {
    let (_, mut harness) = returned(two_keys()).await;
    for _ in 0..PROOFS - 1 {
        assert_eq!(harness.keys([response(200)]), ["k0"]);
    }
    assert_eq!(
        harness.keys([rate_limited("1"), response(200)]),
        ["k0", "k1"]
    );
    assert_eq!(storm(&mut harness, 2).0, ["k1", "k1"]);
    advance(SECOND).await;
    assert_eq!(storm(&mut harness, 3).0, ["k0", "k1", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_fully_open_stays_so_until_its_next_cooldown() {
    let (_, mut harness) = returned(two_keys()).await;
    for _ in 0..PROOFS {
        harness.keys([response(200)]);
    }
    advance(3600 * SECOND).await;
    assert_eq!(admitted(&mut harness, 40), 40);
    assert_eq!(
        harness.keys([rate_limited("1"), response(200)]),
        ["k0", "k1"]
    );
    advance(SECOND).await;
    assert_eq!(admitted(&mut harness, 40), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_without_a_verdict_proves_nothing_and_blocks_nobody() {
    let (_, mut harness) = returned(two_keys()).await;
    for _ in 0..3 {
        let mut failing = harness.send();
        let sent = harness.next_attempt();
        assert_eq!(sent.key, "k0");
        sent.fail("connection reset");
        assert!(failing.result().is_err());
        assert_eq!(harness.keys([response(500)]), ["k0"]);
    }
    assert_eq!(storm(&mut harness, 3).0, ["k0", "k1", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_takes_its_place_for_250_ms_at_most() {
    let (_, mut harness) = returned(two_keys()).await;
    drop(storm(&mut harness, 1));
    advance(SILENCE).await;
    assert!(admitted(&mut harness, 4) >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_single_key_never_keeps_requests_from_being_sent() {
    let (_, mut harness) = returned(KeyPool::builder().key("k0")).await;
    assert_eq!(storm(&mut harness, 3).0, ["k0", "k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn requests_exceed_the_allowance_if_all_other_keys_are_marked() {
    let (pool, mut harness) = returned(two_keys()).await;
    key(&pool, 1).mark_permanent();
    assert_eq!(storm(&mut harness, 3).0, ["k0", "k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_refused_does_not_exceed_the_allowance() {
    let (_, mut harness) = returned(two_keys()).await;
    let (keys, _trying) = storm(&mut harness, 1);
    assert_eq!(keys, ["k0"]);
    let (keys, exhausted) = harness.run([rate_limited("5")]);
    assert_eq!(
        (keys, exhausted.status().as_u16()),
        (vec!["k1".into()], 429)
    );
    assert!(harness.try_next_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_group_has_one_allowance_for_all_of_its_keys() {
    let group = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let (_, mut harness) = returned(group.key("k2")).await;
    let (keys, _trying) = storm(&mut harness, 3);
    assert_eq!(keys, ["k0", "k2", "k2"]);
    advance(SILENCE).await;
    let (keys, _in_flight) = storm(&mut harness, 3);
    assert_eq!(keys.iter().filter(|key| *key != "k2").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_is_available_to_all_requests_at_once() {
    let (pool, mut harness) = returned(two_keys()).await;
    let (keys, _trying) = storm(&mut harness, 2);
    assert_eq!(keys, ["k0", "k1"]);
    pool.reinstate(0).unwrap();
    assert_eq!(admitted(&mut harness, 40), 40);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_probe_returned_is_available_to_all_requests_at_once() {
    let pool = Arc::new(two_keys().without_probe_jitter().build().unwrap());
    key(&pool, 0).mark_permanent();
    advance(60 * SECOND).await;
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(admitted(&mut harness, 40), 40);
}

/// Requests that wait for a single key, whose cooldown has just ended.
async fn waiters<const N: usize>() -> (Harness, [InFlight; N]) {
    let pool = Arc::new(KeyPool::new(["k0"]).unwrap());
    key(&pool, 0).mark_temporary(Some(SECOND));
    let mut harness = Harness::new(&layer(&pool).wait_for_key(30 * SECOND));
    let mut requests = std::array::from_fn(|_| harness.send());
    assert!(harness.try_next_attempt().is_none());
    advance(SECOND).await;
    settle(&mut requests);
    (harness, requests)
}

/// Polls those that were woken, until there are none.
fn settle(requests: &mut [InFlight]) {
    for _ in 0..100 {
        if !requests.iter().any(InFlight::is_woken) {
            return;
        }
        requests
            .iter_mut()
            .filter(|it| it.is_woken())
            .for_each(InFlight::poll);
    }
    panic!("they wake each other without end");
}

fn sent(harness: &mut Harness) -> Vec<SentAttempt> {
    std::iter::from_fn(|| harness.try_next_attempt()).collect()
}

#[tokio::test(start_paused = true)]
async fn waiters_are_admitted_as_other_requests_are() {
    let (mut harness, mut requests) = waiters::<16>().await;
    let mut hanging = Vec::new();
    for expected in [1, 2, 4, 8] {
        let sent = sent(&mut harness);
        assert_eq!(sent.len(), expected);
        hanging.extend(sent);
        advance(SILENCE - MILLI).await;
        settle(&mut requests);
        assert!(harness.try_next_attempt().is_none());
        advance(MILLI).await;
        settle(&mut requests);
    }
    assert_eq!(sent(&mut harness).len(), 1, "the last one");
}

#[tokio::test(start_paused = true)]
async fn a_success_admits_further_waiters_at_once() {
    let (mut harness, mut requests) = waiters::<6>().await;
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[0].status(), 200);
    settle(&mut requests);
    assert_eq!(sent(&mut harness).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_waiter_waits_again_and_the_others_wait_on() {
    let (mut harness, mut requests) = waiters::<3>().await;
    harness.next_attempt().respond(rate_limited("2"));
    requests[0].poll();
    settle(&mut requests);
    assert!(harness.try_next_attempt().is_none());
    advance(2 * SECOND).await;
    settle(&mut requests);
    assert_eq!(sent(&mut harness).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_success_of_any_request_ends_a_cooldown_that_began_before_its_attempt() {
    let pool = Arc::new(two_keys().build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    harness.provider.allow(1);
    let mut request = harness.send();
    harness.next_attempt().respond(keep());
    request.poll();
    // The key is marked while the service becomes ready. No other key is left, so it is used.
    key(&pool, 1).mark_temporary(Some(3600 * SECOND));
    harness.provider.allow(1);
    request.poll();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k1");
    sent.respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}
