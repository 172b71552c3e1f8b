//! Waiters are served in order of arrival. Those that cannot use a key, or are not polled, block nobody.

use std::sync::Arc;

use test_support::harness::{Harness, InFlight, MILLI, SECOND, keep, key, rate_limited};
use test_support::mock::{layer, pool, request, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyChoice, KeyPool};

/// Polls those that were woken, except the first `ignored`, until there are none.
fn settle(requests: &mut [InFlight], ignored: usize) {
    for _ in 0..1000 {
        let mut woken = requests[ignored..].iter_mut().filter(|it| it.is_woken());
        let Some(first) = woken.next() else { return };
        first.poll();
        woken.for_each(InFlight::poll);
    }
    panic!("they wake each other without end");
}

/// A key that cools down for three seconds, and requests that wait for it.
fn queue(waiters: usize) -> (Arc<KeyPool>, Harness, Vec<InFlight>) {
    let pool = pool(["k0"]);
    key(&pool, 0).mark_temporary(Some(3 * SECOND));
    let mut harness = Harness::new(&layer(&pool).wait_for_key(10 * SECOND));
    let requests = (0..waiters).map(|_| harness.send()).collect();
    (pool, harness, requests)
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_not_polled_past_its_deadline_blocks_nobody() {
    let pool = pool(["k0"]);
    let mut harness = Harness::new(&layer(&pool).wait_for_key(10 * SECOND));
    key(&pool, 0).mark_temporary(Some(9 * SECOND));
    let mut requests = vec![harness.send()];
    advance(5 * SECOND).await;
    requests.extend([harness.send(), harness.send()]);
    key(&pool, 0).mark_temporary(Some(7 * SECOND));
    // The first waiter's deadline passes, and its task never polls it.
    for _ in 0..7 {
        advance(SECOND).await;
        settle(&mut requests, 1);
    }
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[1].status(), 200);
    settle(&mut requests, 1);
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[2].status(), 200);
    assert_eq!(requests[0].status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_not_polled_blocks_nobody_within_its_deadline() {
    let (_, mut harness, mut requests) = queue(3);
    advance(3 * SECOND).await;
    settle(&mut requests, 1);
    for _ in 0..4 {
        advance(SECOND).await;
        settle(&mut requests, 1);
    }
    harness.next_attempt().respond(response(200));
    settle(&mut requests, 1);
    harness.next_attempt().respond(response(200));
    settle(&mut requests, 1);
    assert_eq!((requests[1].status(), requests[2].status()), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_has_tried_the_key_passes_it_to_the_next_one() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool).wait_for_key(60 * SECOND));
    // The first request cannot use k0 again, and waits for k1.
    let mut picky = harness.send();
    harness.next_attempt().respond(keep());
    picky.poll();
    harness.next_attempt().respond(rate_limited("30"));
    assert!(picky.is_pending());
    key(&pool, 0).mark_temporary(Some(2 * SECOND));
    let mut others = vec![harness.send(), harness.send()];
    advance(2 * SECOND).await;
    assert!(picky.is_pending());
    settle(&mut others, 0);
    for other in 0..2 {
        let sent = harness.next_attempt();
        assert_eq!(sent.key, "k0");
        sent.respond(response(200));
        assert_eq!(others[other].status(), 200);
        settle(&mut others, 0);
    }
    advance(28 * SECOND).await;
    picky.poll();
    assert_eq!(harness.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_time_is_up_leaves_the_next_key_to_those_behind_it() {
    let pool = KeyPool::builder()
        .labeled_key("busy", "k0")
        .max_in_flight(1);
    let pool = Arc::new(pool.key("k1").build().unwrap());
    key(&pool, 1).mark_temporary(Some(8 * SECOND));
    let mut short = Harness::new(&layer(&pool).wait_for_key(5 * SECOND));
    let mut long = Harness::new(&layer(&pool).wait_for_key(20 * SECOND));
    let _busy = long.send();
    let _attempt = long.next_attempt();
    let mut pinned = request("body");
    let choice = KeyChoice::new().pin_key("busy");
    pinned.extensions_mut().insert(choice);
    let mut requests = [long.send_request(pinned), short.send(), long.send()];
    settle(&mut requests, 0);
    advance(5 * SECOND + 2 * MILLI).await;
    settle(&mut requests, 0);
    assert_eq!(requests[1].status(), 429);
    advance(3 * SECOND).await;
    settle(&mut requests, 0);
    assert_eq!(long.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn waiters_are_sent_in_order_of_arrival() {
    let (_, mut harness, mut requests) = queue(50);
    advance(3 * SECOND).await;
    let mut served = 0;
    for _ in 0..200 {
        tokio::task::yield_now().await;
        settle(&mut requests, 0);
        while let Some(sent) = harness.try_next_attempt() {
            sent.respond(response(200));
            assert_eq!(requests[served].status(), 200, "request {served}");
            served += 1;
        }
    }
    assert_eq!(served, 50);
}

#[tokio::test(start_paused = true)]
async fn a_reopened_key_wakes_a_few_of_a_thousand_waiters() {
    let (_, mut harness, mut requests) = queue(1000);
    advance(3 * SECOND).await;
    let mut polls = 0;
    for _ in 0..10_000 {
        let Some(woken) = requests.iter_mut().find(|it| it.is_woken()) else {
            break;
        };
        polls += 1;
        woken.poll();
    }
    assert!(harness.try_next_attempt().is_some());
    assert!(polls <= 10, "{polls} polls for one attempt");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_are_served_with_a_few_polls_each() {
    let (_, mut harness, mut requests) = queue(1000);
    advance(3 * SECOND).await;
    let (mut polls, mut served) = (0, 0);
    for _ in 0..10_000 {
        for request in &mut requests {
            if request.is_woken() {
                polls += 1;
                request.poll();
                // Timers return `Pending` for a task that never yields.
                tokio::task::yield_now().await;
            }
        }
        let mut is_idle = true;
        while let Some(sent) = harness.try_next_attempt() {
            is_idle = false;
            sent.respond(response(200));
            served += 1;
        }
        if is_idle && !requests.iter().any(InFlight::is_woken) {
            break;
        }
    }
    assert_eq!(served, 1000);
    assert!(polls <= 10_000, "{polls} polls");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_has_probed_a_key_leaves_the_next_probe_to_another() {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .without_probe_jitter();
    let pool = Arc::new(pool.build().unwrap());
    key(&pool, 0).mark_temporary(Some(60 * SECOND));
    key(&pool, 1).mark_permanent();
    let mut harness = Harness::new(&layer(&pool).wait_for_key(100 * SECOND));
    advance(SECOND).await;
    let mut first = harness.send();
    let probe = harness.next_attempt();
    assert_eq!(probe.key, "k1");
    probe.respond(rate_limited("50"));
    assert!(first.is_pending());
    let mut second = harness.send();
    assert!(second.is_pending() && harness.try_next_attempt().is_none());
    key(&pool, 1).mark_permanent();
    let mut requests = [first, second];
    settle(&mut requests, 0);
    advance(SECOND).await;
    settle(&mut requests, 0);
    assert_eq!(harness.next_attempt().key, "k1");
}
