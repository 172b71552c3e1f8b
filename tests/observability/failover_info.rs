//! How a response came about.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use test_support::harness::{Harness, keep, rate_limited};
use test_support::mock::{layer, pool, response};
use tokio::time::advance;
use tower_key_failover::pool::KeyPool;
use tower_key_failover::{FailoverInfo, Mark, Outcome, Replay, Verdict};

fn attempts(info: &FailoverInfo) -> Vec<(String, u16, Verdict)> {
    let history = info.history();
    history
        .map(|attempt| {
            (
                attempt.hint().to_owned(),
                attempt.status().as_u16(),
                attempt.verdict(),
            )
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_attempt_record_has_its_key_status_and_verdict() {
    let pool = pool(["k-one", "k-two", "k-333", "k-444"]);
    let (_, response) =
        Harness::new(&layer(&pool)).run([rate_limited("5"), keep(), response(401), response(200)]);
    let info = response.body().failover().unwrap();
    let five = Some(Duration::from_secs(5));
    assert_eq!(
        attempts(info),
        [
            (
                "k...e".into(),
                429,
                Verdict::Failover(Mark::temporary(five))
            ),
            ("k...o".into(), 403, Verdict::Failover(Mark::keep())),
            ("k...3".into(), 401, Verdict::Failover(Mark::permanent())),
            ("k...4".into(), 200, Verdict::Forward),
        ]
    );
    assert_eq!((info.attempts(), info.outcome()), (4, Outcome::Forwarded));
    assert_eq!(
        (info.hint(), info.waited()),
        (Some("k...4"), Duration::ZERO)
    );
    let same = response.extensions().get::<FailoverInfo>().unwrap();
    assert_eq!(attempts(same), attempts(info));
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_request_reports_its_attempts() {
    let pool = pool(["k0", "k1"]);
    let (_, response) = Harness::new(&layer(&pool)).run([response(401), rate_limited("3")]);
    let info = response.body().failover().unwrap();
    assert_eq!((info.attempts(), info.outcome()), (2, Outcome::Exhausted));
    let last = info.history().last().unwrap();
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_refusal_is_recorded_once() {
    let pool = pool(["k0"]);
    let (_, response) = Harness::new(&layer(&pool)).run([keep()]);
    let info = response.body().failover().unwrap();
    assert_eq!((info.attempts(), info.outcome()), (1, Outcome::Forwarded));
    assert_eq!(info.replay(), Replay::NotNeeded);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_timed_only_if_timings_are_enabled() {
    for take in [false, true] {
        let pool = pool(["k0", "k1"]);
        let mut harness = Harness::new(&layer(&pool).timings(take));
        let mut request = harness.send();
        advance(Duration::from_millis(30)).await;
        harness.next_attempt().respond(response(401));
        request.poll();
        advance(Duration::from_millis(70)).await;
        harness.next_attempt().respond(response(200));
        let info = request.info();
        let elapsed: Vec<_> = info.history().map(|attempt| attempt.elapsed()).collect();
        let taken = |millis| take.then_some(Duration::from_millis(millis));
        assert_eq!(elapsed, [taken(30), taken(70)]);
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_records_show_labels_and_no_key() {
    let pool = KeyPool::builder().labeled_key("team-a", "sk-canary-canary-canary");
    let pool = Arc::new(
        pool.labeled_key("team-b", "sk-other-canary-canary")
            .build()
            .unwrap(),
    );
    let (_, response) = Harness::new(&layer(&pool)).run([response(401), response(200)]);
    let info = response.body().failover().unwrap();
    let labels: Vec<_> = info.history().map(|attempt| attempt.label()).collect();
    assert_eq!(labels, [Some("team-a"), Some("team-b")]);
    assert_eq!(info.label(), Some("team-b"));
    let printed = format!("{info:?} {info:#?}");
    assert!(
        printed.contains("sk-c...nary") && !printed.contains("canary"),
        "{printed}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_single_forwarded_refusal_is_reported_in_the_body_only() {
    let pool = pool(["k0"]);
    let (_, response) = Harness::new(&layer(&pool)).run([keep()]);
    assert_eq!(response.body().failover().unwrap().attempts(), 1);
    assert!(response.extensions().get::<FailoverInfo>().is_none());
}
