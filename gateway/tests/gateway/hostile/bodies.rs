//! A 403 that an edge sends, or whose body does not arrive completely, marks no key.

use std::time::Duration;

use crate::hostile::traffic::{Caller, GOOD_PATH, provider, start};

/// Sends one request to `path` to a cold gateway with this number of keys. Afterwards every key is as
/// it was, and good requests succeed.
async fn marks_nothing(path: &str, keys: usize) {
    let upstream = provider().await;
    let gateway = start(&upstream, keys).await;
    let caller = Caller::new(&gateway);

    // A refusal that is cut may arrive as a closed connection.
    let status = caller.try_send(path).await;

    assert!(matches!(status, None | Some(403)), "{path}: {status:?}");
    unmarked(&gateway, &caller, keys).await;
}

async fn unmarked(gateway: &crate::support::Gateway, caller: &Caller, keys: usize) {
    for key in gateway.keys().await.as_array().unwrap() {
        assert_eq!(
            (&key["state"], &key["suspicions"]),
            (&"valid".into(), &0.into()),
            "{key}"
        );
    }
    assert_eq!(gateway.keys().await.as_array().unwrap().len(), keys);
    assert_eq!(caller.send(GOOD_PATH).await, 200);
}

#[tokio::test]
async fn a_403_that_an_edge_sent_marks_no_key_and_is_forwarded_at_once() {
    let upstream = provider().await;
    let gateway = start(&upstream, 3).await;
    let caller = Caller::new(&gateway);

    assert_eq!(caller.send("/edge").await, 403);

    assert_eq!(upstream.seen().len(), 1);
    unmarked(&gateway, &caller, 3).await;
}

#[tokio::test]
async fn a_403_whose_body_stalls_marks_no_key() {
    marks_nothing("/stall", 2).await;
}

#[tokio::test]
async fn a_403_whose_body_is_cut_marks_no_key() {
    marks_nothing("/cut", 3).await;
}

#[tokio::test]
async fn a_403_whose_body_exceeds_64_kib_marks_no_key() {
    marks_nothing("/large", 3).await;
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_refusal_marks_no_key() {
    let upstream = provider().await;
    let gateway = start(&upstream, 3).await;
    let caller = Caller::new(&gateway);

    // The refusal has arrived, and its body has not.
    for _ in 0..3 {
        caller.abandon("/stall", Duration::from_millis(300)).await;
    }

    assert!(!upstream.seen().is_empty());
    unmarked(&gateway, &caller, 3).await;
}
