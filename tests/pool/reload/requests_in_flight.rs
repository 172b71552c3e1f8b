//! Requests that are under way while the list changes.

use test_support::harness::Harness;
use test_support::mock::{layer, pool, response};
use tower_key_failover::pool::KeyState;

#[tokio::test(start_paused = true)]
async fn a_request_under_way_finishes_with_a_key_that_is_gone() {
    let pool = pool(["k0", "k1"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    let seen = rig.next();
    pool.remove_key(0).unwrap();
    seen.respond(response(200));
    assert_eq!(flight.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_with_a_key_that_is_gone() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    let seen = rig.next();
    pool.remove_key(1).unwrap();
    seen.respond(response(401));
    flight.poll();
    assert_eq!(rig.next().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_whose_key_goes_while_the_service_is_made_ready() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    let seen = rig.next();
    rig.provider.allow(0);
    seen.respond(response(401));
    assert!(flight.is_pending(), "the second key is taken");
    pool.remove_key(1).unwrap();
    rig.provider.allow(1);
    flight.poll();
    assert_eq!(rig.next().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn where_the_key_that_goes_was_the_last_the_request_is_told_so() {
    let pool = pool(["k0", "k1"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    let seen = rig.next();
    rig.provider.allow(0);
    seen.respond(response(401));
    assert!(flight.is_pending());
    pool.remove_key(1).unwrap();
    rig.provider.allow(1);
    assert_eq!(flight.status(), 502);
    assert!(rig.seen().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_during_the_last_attempt_is_for_the_next_request() {
    let pool = pool(["k0", "k1"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    rig.next().respond(response(401));
    flight.poll();
    let seen = rig.next();
    pool.add_key("k2").unwrap();
    seen.respond(response(401));
    // Whether another could follow was decided when the attempt started.
    assert_eq!(flight.status(), 429);
    assert_eq!(rig.keys([response(200)]), ["k2"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_moved_is_not_tried_twice_by_one_request() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    let seen = rig.next();
    assert_eq!(seen.key, "k0");
    pool.replace_keys(["k1", "k0", "k2"]).unwrap();
    seen.respond(test_support::harness::keep());
    flight.poll();
    // It stands behind its key, wherever that is now.
    let seen = rig.next();
    assert_eq!(seen.key, "k2");
    seen.respond(response(200));
    assert_eq!(flight.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_key_that_is_gone_marks_none_of_those_that_are_there() {
    let pool = pool(["k0", "k1"]);
    let mut rig = Harness::new(&layer(&pool));
    let mut flight = rig.send();
    let seen = rig.next();
    pool.replace_keys(["k1", "k2"]).unwrap();
    pool.add_key("k0").unwrap();
    seen.respond(response(401));
    flight.poll();
    rig.next().respond(response(200));
    assert_eq!(flight.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}
