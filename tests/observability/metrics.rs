//! What is counted, and when nothing is.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use metrics::Unit;
use test_support::mock::{Body, layer, request};
use test_support::policy::TestPolicy;
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::pool::{KeyChoice, Scope};
use tower_key_failover::{KeyFailoverLayer, KeyPool, ReplayBudget, RequestBody};

use crate::recorder::{TestRecorder, Value};

/// A metric by its name and labels, with its value.
type Metric = (String, String);

fn pool<const N: usize>(keys: [&'static str; N]) -> Arc<KeyPool> {
    let builder = KeyPool::builder().name("p");
    Arc::new(
        keys.into_iter()
            .fold(builder, |builder, key| builder.key(key))
            .build()
            .unwrap(),
    )
}

/// All that was counted since the last time, in order.
fn counted(recorder: &TestRecorder) -> Vec<Metric> {
    let metrics = recorder.take().into_iter();
    let metrics = metrics.filter(|(_, value)| *value != Value::Counter(0));
    let mut metrics: Vec<_> = metrics
        .map(|(metric, value)| {
            let value = match value {
                Value::Counter(count) => count.to_string(),
                Value::Gauge(value) => value.to_string(),
                Value::Histogram(values) => format!("{values:?}"),
            };
            (format!("{} {}", metric.name, metric.labels), value)
        })
        .collect();
    metrics.sort();
    metrics
}

/// What is counted while `work` is done.
fn counts<F: Future>(work: F) -> Vec<Metric> {
    let recorder = TestRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    counted(&recorder)
}

/// Sends a request to a provider that reads it, takes half a second, and responds to each key with
/// the status in the key.
async fn send(layer: &KeyFailoverLayer<TestPolicy>, body: &'static str) -> u16 {
    let provider = service_fn(|request: Request<RequestBody<Body>>| async move {
        let key = test_support::mock::key_of(&request)
            .split('-')
            .next()
            .unwrap()
            .to_owned();
        let _ = request.into_body().collect().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let response = Response::builder().status(key.as_str());
        Ok::<_, Infallible>(response.body(Body::default()).unwrap())
    });
    let response = layer.layer(provider).oneshot(request(body)).await;
    response.unwrap().status().as_u16()
}

fn metrics<const N: usize>(expected: [(&str, &str); N]) -> Vec<Metric> {
    expected
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_request_that_succeeds_with_the_first_key_counts_nothing() {
    let counts = counts(async {
        let pool = pool(["200", "200-2"]);
        let layer = layer(&pool).timings(true).extensions(true);
        assert_eq!(send(&layer, "hello").await, 200);
        assert_eq!(send(&layer, "").await, 200);
    });
    assert_eq!(counts, []);
}

#[test]
fn a_failover_counts_transitions_attempts_and_the_time_lost() {
    let counts = counts(async {
        let layer = layer(&pool(["429", "401", "403", "200"])).timings(true);
        assert_eq!(send(&layer, "hello").await, 200);
        assert_eq!(send(&layer, "hello").await, 200);
    });
    let expected = metrics([
        ("key_pool_failover_attempts pool=p", "[4.0]"),
        ("key_pool_refused_attempt_seconds pool=p", "[0.5, 0.5, 0.5]"),
        (
            "key_pool_state_transitions_total pool=p state=permanent reason=forbidden",
            "1",
        ),
        (
            "key_pool_state_transitions_total pool=p state=permanent reason=unauthorized",
            "1",
        ),
        (
            "key_pool_state_transitions_total pool=p state=temporary reason=rate_limited",
            "1",
        ),
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn a_mark_of_a_scope_is_neither_a_transition_of_its_key_nor_a_label() {
    let counts = counts(async {
        let provider = service_fn(|request: Request<RequestBody<Body>>| async move {
            let status = &test_support::mock::key_of(&request)[..3];
            let response = Response::builder().status(status).header("x-in-scope", "");
            Ok::<_, Infallible>(response.body(Body::default()).unwrap())
        });
        let service = layer(&pool(["429", "200"])).layer(provider);
        for n in 0..100 {
            let mut request = request("hello");
            let scope = Scope::new(&format!("model-{n}")).unwrap();
            request
                .extensions_mut()
                .insert(KeyChoice::new().scope(scope));
            service.clone().oneshot(request).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    let names: BTreeSet<_> = counts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["key_pool_failover_attempts pool=p"]));
}

#[test]
fn the_lost_time_is_recorded_only_if_timings_are_enabled() {
    let counts = counts(async {
        assert_eq!(send(&layer(&pool(["429", "200"])), "hello").await, 200);
    });
    assert!(
        !counts.iter().any(|(name, _)| name.contains("seconds")),
        "{counts:?}"
    );
}

#[test]
fn exhaustions_are_counted_by_their_outcome() {
    let counts = counts(async {
        let limited = layer(&pool(["429"]));
        assert_eq!(send(&limited, "").await, 429);
        assert_eq!(send(&limited, "").await, 429);
        assert_eq!(send(&layer(&pool(["401"])), "").await, 502);
    });
    let expected = metrics([
        ("key_pool_exhaustions_total pool=p outcome=permanent", "1"),
        (
            "key_pool_exhaustions_total pool=p outcome=rate_limited",
            "2",
        ),
        ("key_pool_failover_attempts pool=p", "[1.0, 0.0, 1.0]"),
        (
            "key_pool_state_transitions_total pool=p state=permanent reason=unauthorized",
            "1",
        ),
        (
            "key_pool_state_transitions_total pool=p state=temporary reason=rate_limited",
            "1",
        ),
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn an_abandoned_replay_is_counted_by_its_reason() {
    let counts = counts(async {
        let layer = layer(&pool(["200", "200-2"]));
        assert_eq!(send(&layer.clone().max_replay_bytes(4), "hello").await, 200);
        let budget = ReplayBudget::new(0);
        assert_eq!(send(&layer.replay_budget(budget), "hello").await, 200);
    });
    let expected = metrics([
        (
            "key_pool_replay_disabled_total pool=p reason=over_budget",
            "1",
        ),
        (
            "key_pool_replay_disabled_total pool=p reason=too_large",
            "1",
        ),
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn an_extension_is_no_transition_and_a_reinstatement_is_one() {
    let counts = counts(async {
        let pool = pool(["k0", "k1"]);
        for key in pool.keys() {
            key.mark_temporary(Some(Duration::from_secs(1)));
            key.mark_temporary(Some(Duration::from_secs(2)));
        }
        pool.reinstate(0).unwrap();
        pool.disable(1).unwrap();
    });
    let expected = metrics([
        (
            "key_pool_state_transitions_total pool=p state=permanent reason=operator",
            "1",
        ),
        (
            "key_pool_state_transitions_total pool=p state=temporary reason=other",
            "2",
        ),
        (
            "key_pool_state_transitions_total pool=p state=valid reason=operator",
            "1",
        ),
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn gauges_show_the_current_state_when_they_are_recorded() {
    let gauges = |valid: &str, temporary: &str, permanent: &str| {
        metrics([
            ("key_pool_state pool=p state=permanent", permanent),
            ("key_pool_state pool=p state=temporary", temporary),
            ("key_pool_state pool=p state=valid", valid),
            ("key_pool_suspected_keys pool=p", "0"),
        ])
    };
    let pool = pool(["k0", "k1", "k2", "k3"]);
    let recorder = TestRecorder::default();
    let render = || {
        metrics::with_local_recorder(&recorder, || pool.record_metrics());
        counted(&recorder)
    };
    assert_eq!(render(), gauges("4", "0", "0"));
    pool.disable(0).unwrap();
    pool.keys().nth(1).unwrap().mark_temporary(None);
    assert_eq!(render(), gauges("2", "1", "1"));
    pool.reinstate(1).unwrap();
    assert_eq!(render(), gauges("3", "0", "1"));
    pool.remove_key(0).unwrap();
    assert_eq!(render(), gauges("3", "0", "0"));
}

#[test]
fn keys_with_labels_are_counted_if_the_pool_tracks_usage() {
    let recorder = TestRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let pool = KeyPool::builder()
        .name("p")
        .track_usage(true)
        .labeled_key("a", "429")
        .max_in_flight(5)
        .labeled_key("b", "200")
        .key("200-2");
    let pool = Arc::new(pool.build().unwrap());
    metrics::with_local_recorder(&recorder, || {
        assert_eq!(runtime.block_on(send(&layer(&pool), "hello")), 200);
        assert_eq!(runtime.block_on(send(&layer(&pool), "hello")), 200);
        pool.record_metrics();
        // A scrape sets counters, and adds nothing.
        pool.record_metrics();
    });
    let counts = counted(&recorder).into_iter();
    let counts: Vec<_> = counts
        .filter(|(name, _)| name.starts_with("key_pool_key_"))
        .collect();
    let expected = metrics([
        (
            "key_pool_key_attempts_total pool=p key=a picked_by=selection",
            "1",
        ),
        (
            "key_pool_key_attempts_total pool=p key=b picked_by=selection",
            "2",
        ),
        ("key_pool_key_in_flight pool=p key=a", "0"),
        (
            "key_pool_key_refused_total pool=p key=a reason=rate_limited",
            "1",
        ),
        ("key_pool_key_served_total pool=p key=b", "2"),
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn every_metric_is_described_with_its_unit() {
    let recorder = TestRecorder::default();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let layer = layer(&pool(["429", "200", "200-2"])).timings(true);
            send(&layer, "hello").await;
            send(&layer.max_replay_bytes(1), "hello").await;
            send(&test_support::mock::layer(&pool(["401"])), "").await;
        });
        pool(["k0"]).record_metrics();
    });
    let metrics = recorder.take().into_iter();
    let names: BTreeSet<_> = metrics.map(|(metric, _)| metric.name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for name in names {
        let expected = match &*name {
            "key_pool_refused_attempt_seconds" => Unit::Seconds,
            _ => Unit::Count,
        };
        let (unit, description) = recorder.description(&name).expect(&name);
        assert_eq!(unit, Some(expected), "{name}");
        assert!(!description.is_empty(), "{name}");
    }
}
