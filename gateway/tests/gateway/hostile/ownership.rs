//! Requests that only one key can serve, and requests that cannot be sent again.

use axum::http::Response;

use crate::hostile::traffic::{Caller, key, provider, start, start_with, with_key_counts};
use crate::support::upstream_with;

#[tokio::test]
async fn requests_for_resources_of_one_account_do_not_affect_other_requests() {
    let upstream = provider().await;
    let gateway = start(&upstream, 3).await;
    let (caller, owner) = (Caller::new(&gateway), Caller::new(&gateway));
    let path = format!("/owned/{}", key(2));

    let (statuses, failures) = tokio::join!(owner.attack(&path), caller.good_traffic());

    assert_eq!(failures, 0);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn odd_uploads_that_cannot_be_replayed_do_not_affect_other_requests() {
    with_key_counts(async |keys| {
        let upstream = provider().await;
        let gateway = start_with(&upstream, keys, |start| {
            start.args(["--max-replay-bytes", "1"])
        })
        .await;
        let caller = Caller::new(&gateway);

        let (_, failures) = tokio::join!(caller.attack("/odd/403"), caller.good_traffic());

        assert_eq!(failures, 0, "{keys} keys");
    })
    .await;
}

/// No upload can convict the key, but the first suspicion ranks it behind the others.
#[tokio::test]
async fn a_dead_key_costs_one_upload_that_cannot_be_replayed() {
    let upstream = upstream_with(async |request| {
        let dead = format!("Bearer {}", key(0));
        let status = match request.headers()["authorization"] == dead.as_str() {
            true => 403,
            false => 200,
        };
        Response::builder().status(status).body("".into()).unwrap()
    })
    .await;
    let gateway = start_with(&upstream, 3, |start| {
        start.args(["--max-replay-bytes", "1"])
    })
    .await;
    let caller = Caller::new(&gateway);

    assert_eq!(caller.send("/").await, 403);

    assert_eq!(caller.good_traffic().await, 0);
}
