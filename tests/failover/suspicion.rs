//! Trust follows evidence: a refusal that may be the request's fault takes no key from other requests.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use test_support::harness::{Harness, MILLI, SECOND, keep, key, rate_limited};
use test_support::mock::{layer, pool, request, response};
use test_support::policy::TestPolicy;
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyState};
use tower_key_failover::{KeyFailoverLayer, Mark, PickedBy, ProviderPolicy, Verdict};

const MINUTE: Duration = Duration::from_secs(60);

fn exact(keys: &[&str]) -> Arc<KeyPool> {
    let pool = keys
        .iter()
        .fold(KeyPool::builder(), |pool, key| pool.key(*key));
    Arc::new(pool.without_probe_jitter().build().unwrap())
}

/// The suspicions of each key.
fn suspicions(pool: &KeyPool) -> Vec<u32> {
    let keys = pool.snapshot().keys;
    keys.iter().map(|key| key.suspicions).collect()
}

/// A harness over keys that have all succeeded, so that a 401 is only a suspicion.
fn proven(pool: &Arc<KeyPool>) -> Harness {
    let mut harness = Harness::new(&layer(pool));
    for at in 0..pool.len() {
        // The keys before that one refuse the request, but are kept.
        let refusals = (0..at).map(|_| keep());
        let responses = refusals.chain([response(200)]);
        assert_eq!(harness.keys(responses).len(), at + 1);
    }
    harness
}

#[tokio::test(start_paused = true)]
async fn a_401_of_a_key_that_never_succeeded_marks_it_permanently() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([response(401), response(500)]), ["k0", "k1"]);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_401_of_a_key_that_has_succeeded_is_a_suspicion() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    assert_eq!(harness.keys([response(401), response(500)]), ["k0", "k1"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    assert_eq!(suspicions(&pool), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_operators_return_makes_a_key_prove_itself_again() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    pool.disable(0).unwrap();
    pool.reinstate(0).unwrap();
    harness.keys([response(401), response(500)]);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn requests_use_a_suspected_key_only_after_the_others() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    harness.keys([response(401), response(500)]);
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    // Both are suspected once: the first comes first again.
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    request.poll();
    assert_eq!(suspicions(&pool), [1, 1]);
    assert_eq!(harness.next_attempt().key, "k0");
}

#[tokio::test(start_paused = true)]
async fn a_success_clears_all_suspicions_of_its_key() {
    let pool = exact(&["k0"]);
    let mut harness = proven(&pool);
    for expected in 1..4 {
        harness.keys([response(401)]);
        assert_eq!(suspicions(&pool), [expected]);
    }
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(suspicions(&pool), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_error_clears_no_suspicion() {
    let pool = exact(&["k0"]);
    let mut harness = proven(&pool);
    harness.keys([response(401)]);
    for status in [404, 500, 302] {
        harness.keys([response(status)]);
        assert_eq!(suspicions(&pool), [1], "after a {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_succeeds_with_another_key_convicts_the_one_that_it_suspected() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    assert_eq!(harness.keys([response(401), response(200)]), ["k0", "k1"]);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
    assert_eq!(suspicions(&pool), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_an_error_with_another_key_convicts_nothing() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    for status in [404, 500] {
        harness.keys([response(401), response(status)]);
        assert_eq!(pool.states(), [KeyState::Valid; 2]);
        advance(2 * MINUTE).await;
        harness.keys([response(200)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_of_another_request_prevents_the_conviction() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    let mut other = harness.send();
    let with_k0 = harness.next_attempt();
    assert_eq!(with_k0.key, "k0");
    let mut slow = harness.send();
    harness.next_attempt().respond(response(401));
    slow.poll();
    let with_k1 = harness.next_attempt();
    with_k0.respond(response(200));
    other.poll();
    with_k1.respond(response(200));
    assert_eq!(slow.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_that_another_request_raised_is_no_ground_for_conviction() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    let mut slow = harness.send();
    harness.next_attempt().respond(response(401));
    slow.poll();
    let with_k1 = harness.next_attempt();
    // In the meantime k0 succeeds, and is suspected again by a request that never succeeds.
    key(&pool, 1).mark_temporary(Some(SECOND));
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    harness.keys([response(401)]);
    advance(SECOND).await;
    with_k1.respond(response(200));
    assert_eq!(slow.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_request_stops_after_three_suspicions() {
    let pool = exact(&["k0", "k1", "k2", "k3", "k4"]);
    let mut harness = proven(&pool);
    let (keys, exhausted) = harness.run([response(401), response(401), response(401)]);
    assert_eq!(keys, ["k0", "k1", "k2"]);
    // Two keys are usable.
    assert_eq!(exhausted.status(), 429);
    assert!(!exhausted.headers().contains_key("retry-after"));
    assert_eq!(pool.states(), [KeyState::Valid; 5]);
}

/// Suspects the key of a 403, as the built-in policies do.
fn forbidding(pool: &Arc<KeyPool>) -> KeyFailoverLayer<impl ProviderPolicy + Clone> {
    let policy = TestPolicy::default().map_verdict(|head, _, verdict| match head.status.as_u16() {
        403 => Verdict::Failover(Mark::suspect()),
        _ => verdict,
    });
    KeyFailoverLayer::new(Arc::new(policy), Arc::clone(pool))
}

#[tokio::test(start_paused = true)]
async fn the_last_refusal_is_forwarded_unless_it_is_a_401() {
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};

    let pool = exact(&["k0", "k1"]);
    let refusing = service_fn(|_: Request<_>| async {
        let response = Response::builder().status(403).header("x-why", "you");
        Ok::<_, std::convert::Infallible>(response.body(String::from("not you")).unwrap())
    });
    let service = forbidding(&pool).layer(refusing);
    let request = Request::new(String::from("body"));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["x-why"], "you");
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    assert_eq!(suspicions(&pool), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_single_key_is_never_convicted() {
    let pool = exact(&["k0"]);
    let mut harness = proven(&pool);
    for _ in 0..10 {
        let (keys, exhausted) = harness.run([response(401)]);
        assert_eq!(
            (keys, exhausted.status().as_u16()),
            (vec!["k0".into()], 502)
        );
        advance(MINUTE).await;
    }
    assert_eq!(pool.states(), [KeyState::Valid]);
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_suspected_key_is_probed_at_its_position_after_a_minute() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    harness.keys([response(401), response(500)]);
    advance(MINUTE - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(suspicions(&pool), [0, 0]);
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_probe_of_a_suspected_key_doubles_the_interval() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    harness.keys([response(401), response(500)]);
    let mut interval = MINUTE;
    for _ in 0..8 {
        advance(interval - MILLI).await;
        assert_eq!(harness.keys([response(200)]), ["k1"], "before {interval:?}");
        advance(MILLI).await;
        // The request fails with the other key as well, so nothing is convicted.
        let keys = harness.keys([response(401), response(500)]);
        assert_eq!(keys, ["k0", "k1"], "after {interval:?}");
        interval = (2 * interval).min(60 * MINUTE);
    }
    assert_eq!(suspicions(&pool), [9, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_suspected_key_is_not_probed_if_no_other_key_is_trusted() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    let (keys, _) = harness.run([response(401), response(401)]);
    assert_eq!(keys, ["k0", "k1"]);
    harness.keys([response(401), response(500)]);
    assert_eq!(suspicions(&pool), [2, 1]);
    advance(2 * MINUTE).await;
    assert_eq!(harness.keys([response(500)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn cancellation_convicts_nothing() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    for _ in 0..3 {
        let mut request = harness.send();
        harness.next_attempt().respond(response(401));
        request.poll();
        drop(request);
        drop(harness.try_next_attempt());
    }
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_keeps_the_suspicions() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    harness.keys([response(401), response(500)]);
    key(&pool, 0).mark_temporary(Some(SECOND));
    advance(SECOND).await;
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    assert_eq!(suspicions(&pool), [1, 0]);
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_trusted_key_says_so() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    assert!(pool.snapshot().has_trusted_key());
    harness.keys([response(401), response(401)]);
    assert!(!pool.snapshot().has_trusted_key());
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    harness.keys([response(200)]);
    assert!(pool.snapshot().has_trusted_key());
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_refusals_are_its_own_fault_costs_other_requests_nothing() {
    for keys in [vec!["k0"], vec!["k0", "k1"], vec!["k0", "k1", "k2"]] {
        let pool = exact(&keys);
        let mut harness = proven(&pool);
        for round in 0..600 {
            // Ten odd requests per second.
            let mut odd = harness.send();
            while let Some(attempt) = harness.try_next_attempt() {
                attempt.respond(response(401));
                odd.poll();
            }
            drop(odd);
            assert_eq!(harness.send_good(), 200, "in round {round} with {keys:?}");
            advance(100 * MILLI).await;
        }
        let states = pool.states();
        assert!(states.iter().all(|state| *state == KeyState::Valid));
    }
}

trait SendGood {
    fn send_good(&mut self) -> u16;
}

impl SendGood for Harness {
    fn send_good(&mut self) -> u16 {
        let (_, served) = self.run([response(200)]);
        served.status().as_u16()
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_one_key_does_not_clear_or_convict_another() {
    let pool = exact(&["k0", "k1", "k2"]);
    let mut harness = proven(&pool);
    let keys = harness.keys([response(401), rate_limited("5"), response(500)]);
    assert_eq!(keys, ["k0", "k1", "k2"]);
    assert_eq!(suspicions(&pool), [1, 0, 0]);
    assert_eq!(pool.states()[0], KeyState::Valid);
}

#[tokio::test]
async fn a_new_pool_is_not_suspected() {
    assert_eq!(suspicions(&pool(["k0", "k1"])), [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn odd_requests_on_several_threads_cost_other_requests_nothing_while_the_list_is_reloaded() {
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};

    let pool = exact(&["k0", "k1", "k2"]);
    let upstream = service_fn(
        |request: Request<tower_key_failover::RequestBody<String>>| {
            let status = match request.headers().contains_key("x-odd") {
                true => 401,
                false => 200,
            };
            let response = Response::builder().status(status).body(String::new());
            async move {
                tokio::task::yield_now().await;
                Ok::<_, std::convert::Infallible>(response.unwrap())
            }
        },
    );
    let service = layer(&pool).layer(upstream);
    let send = move |is_odd: bool| {
        let mut request = Request::new(String::from("body"));
        if is_odd {
            let value = http::HeaderValue::from_static("1");
            request.headers_mut().insert("x-odd", value);
        }
        let response = service.clone().oneshot(request);
        async move { response.await.unwrap().status().as_u16() }
    };
    // The first key works.
    assert_eq!(send(false).await, 200);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let send = send.clone();
        tasks.spawn(async move {
            for _ in 0..500 {
                let status = send(task % 2 == 0).await;
                if task % 2 == 1 {
                    assert_eq!(status, 200);
                }
            }
        });
    }
    let reloaded = Arc::clone(&pool);
    tasks.spawn(async move {
        let mut keys = ["k0", "k1", "k2"];
        for _ in 0..200 {
            keys.rotate_left(1);
            reloaded.replace_keys(keys).unwrap();
            tokio::task::yield_now().await;
        }
    });
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert_eq!(send(false).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_suspected_key_is_probed_even_if_it_has_cooled_down_before() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    let keys = harness.keys([rate_limited("1"), response(200)]);
    assert_eq!(keys, ["k0", "k1"]);
    advance(5 * SECOND).await;
    assert_eq!(harness.keys([response(401), response(500)]), ["k0", "k1"]);
    advance(MINUTE - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(suspicions(&pool), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_suspected_during_a_cooldown_is_probed_after_it() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    let mut odd = harness.send();
    let with_k0 = harness.next_attempt();
    key(&pool, 0).mark_temporary(Some(SECOND));
    with_k0.respond(response(401));
    odd.poll();
    harness.next_attempt().respond(response(500));
    odd.poll();
    assert_eq!(suspicions(&pool), [1, 0]);
    advance(SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MINUTE).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_suspicion_does_not_probe_a_later_cooldown() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    assert_eq!(harness.keys([response(401), response(401)]), ["k0", "k1"]);
    let keys = harness.keys([rate_limited("3600"), response(200)]);
    assert_eq!(keys, ["k0", "k1"]);
    advance(100 * SECOND).await;
    // A mark that makes requests look for due keys.
    pool.add_key("k2").unwrap();
    key(&pool, 2).mark_permanent();
    advance(100 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_probed_a_key_does_not_probe_a_suspected_one_that_reopens() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    key(&pool, 0).mark_permanent();
    // The only usable key becomes suspected, and cools down.
    assert_eq!(harness.keys([response(401)]), ["k1"]);
    assert_eq!(harness.keys([rate_limited("1")]), ["k1"]);
    assert_eq!(suspicions(&pool), [0, 1]);
    advance(61 * SECOND).await;
    let (keys, response) = harness.run_request(request("body"), [response(401), response(200)]);
    assert_eq!(keys, ["k0", "k1"]);
    let info = response.body().failover().unwrap();
    let picked_by: Vec<_> = info.history().map(|attempt| attempt.picked_by()).collect();
    assert_eq!(picked_by, [PickedBy::Probe, PickedBy::Selection]);
}

#[tokio::test(start_paused = true)]
async fn a_suspected_key_that_reopens_is_not_probed_if_no_other_key_is_trusted() {
    let pool = exact(&["k0"]);
    let mut harness = proven(&pool);
    assert_eq!(harness.keys([response(401)]), ["k0"]);
    assert_eq!(harness.keys([rate_limited("1")]), ["k0"]);
    advance(61 * SECOND).await;
    let (_, response) = harness.run_request(request("body"), [response(200)]);
    let info = response.body().failover().unwrap();
    let picked_by: Vec<_> = info.history().map(|attempt| attempt.picked_by()).collect();
    assert_eq!(picked_by, [PickedBy::Selection]);
}

#[tokio::test(start_paused = true)]
async fn a_401_of_the_only_key_that_is_not_disabled_is_not_reported_as_disabled() {
    let pool = exact(&["k0", "k1"]);
    let mut harness = proven(&pool);
    pool.disable(1).unwrap();
    let (keys, response) = harness.run_request(request("body"), [response(401)]);
    assert_eq!((keys.len(), response.status().as_u16()), (1, 502));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "all configured keys failed authentication");
}
