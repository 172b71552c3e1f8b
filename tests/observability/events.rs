//! What subscribers of a pool receive.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use http::{Response, StatusCode};
use test_support::mock::{Body, layer, request};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::pool::{
    ExhaustedKind, KeyPool, KeyState, Marked, PoolEvent, PoolEvents, Reason, ReturnedBy,
};

const SECOND: Duration = Duration::from_secs(1);

fn pool() -> KeyPool {
    KeyPool::builder()
        .labeled_key("a", "sk-first-0123456789ab")
        .labeled_key("b", "sk-second-0123456789")
        .build()
        .unwrap()
}

fn now(events: &mut PoolEvents) -> Option<PoolEvent> {
    events
        .next_event()
        .now_or_never()
        .map(|event| event.expect("the pool is there"))
}

#[tokio::test(start_paused = true)]
async fn marks_extensions_and_returns_are_events_and_ineffective_marks_are_not() {
    let pool = pool();
    let mut events = pool.subscribe();
    let key = pool.keys().next().unwrap();

    for (seconds, expected) in [
        (5, Some(Marked::Transitioned)),
        (3, None),
        (9, Some(Marked::Extended)),
    ] {
        key.mark_temporary(Some(seconds * SECOND));
        let told = now(&mut events).map(|event| {
            let PoolEvent::Marked {
                key,
                state,
                marked,
                reason,
                status,
                ..
            } = event
            else {
                panic!("{event:?}");
            };
            assert_eq!(
                (key.label.as_deref(), &*key.hint),
                (Some("a"), "sk-f...89ab")
            );
            assert_eq!(
                state,
                KeyState::Temporary {
                    retry_after: seconds * SECOND
                }
            );
            assert_eq!((reason, status), (Reason::Other, None));
            marked
        });
        assert_eq!(told, expected);
    }

    pool.reinstate("a").unwrap();
    assert!(matches!(
        now(&mut events),
        Some(PoolEvent::Returned { key, by: ReturnedBy::Operator, .. }) if key.label.as_deref() == Some("a")
    ));
    assert!(now(&mut events).is_none());
}

#[tokio::test]
async fn a_refusal_event_has_status_and_reason_and_precedes_exhaustion() {
    let pool = std::sync::Arc::new(pool());
    let mut events = pool.subscribe();
    let provider = service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(
            Response::builder()
                .status(401)
                .body(Body::default())
                .unwrap(),
        )
    });

    let response = layer(&pool).layer(provider).oneshot(request("")).await;
    assert_eq!(response.unwrap().status(), 502);

    for label in ["a", "b"] {
        let Some(PoolEvent::Marked {
            key,
            state,
            reason,
            status,
            ..
        }) = now(&mut events)
        else {
            panic!("{label}");
        };
        assert_eq!(key.label.as_deref(), Some(label));
        assert_eq!(state, KeyState::Permanent);
        assert_eq!(
            (reason, status),
            (Reason::Unauthorized, Some(StatusCode::UNAUTHORIZED))
        );
    }
    assert!(matches!(
        now(&mut events),
        Some(PoolEvent::Exhausted { exhausted, .. }) if exhausted.kind == ExhaustedKind::Permanent
    ));
    assert!(now(&mut events).is_none());
}

#[test]
fn a_reload_event_names_the_keys() {
    let pool = pool();
    let mut events = pool.subscribe();
    pool.replace_keys(["sk-first-0123456789ab", "sk-third-0123456789c"])
        .unwrap();
    let Some(PoolEvent::Changed { added, removed, .. }) = now(&mut events) else {
        panic!("it was changed");
    };
    assert_eq!(
        added.iter().map(|key| &*key.hint).collect::<Vec<_>>(),
        ["sk-t...789c"]
    );
    assert_eq!(
        removed.iter().map(|key| &*key.hint).collect::<Vec<_>>(),
        ["sk-s...6789"]
    );
}

#[test]
fn a_slow_subscriber_loses_the_oldest_events_and_learns_how_many() {
    let pool = pool();
    let (mut slow, mut prompt) = (pool.subscribe(), pool.subscribe());
    let mut told = 0;
    for _ in 0..150 {
        pool.disable(0).unwrap();
        pool.reinstate(0).unwrap();
        while now(&mut prompt).is_some() {
            told += 1;
        }
    }
    assert_eq!(told, 300);
    assert!(matches!(
        now(&mut slow),
        Some(PoolEvent::Missed { events: 44, .. })
    ));
    for _ in 0..128 {
        assert!(matches!(now(&mut slow), Some(PoolEvent::Marked { .. })));
        assert!(matches!(now(&mut slow), Some(PoolEvent::Returned { .. })));
    }
    assert!(now(&mut slow).is_none());
}

#[test]
fn a_subscriber_gets_no_earlier_events() {
    let pool = pool();
    pool.disable(0).unwrap();
    drop(pool.subscribe());
    pool.reinstate(0).unwrap();
    assert!(now(&mut pool.subscribe()).is_none());
}

#[tokio::test]
async fn the_stream_of_events_ends_with_the_pool_and_wakes_its_reader() {
    let pool = pool();
    let mut events = pool.subscribe();
    let waiting = tokio::spawn(async move {
        let first = events.next().await;
        (first, events.next().await)
    });
    tokio::task::yield_now().await;
    pool.disable(1).unwrap();
    drop(pool);
    let (first, then) = waiting.await.unwrap();
    assert!(matches!(first, Some(PoolEvent::Marked { .. })));
    assert!(then.is_none());
}

#[test]
fn a_subscriber_with_events_to_read_keeps_neither_pool_nor_keys_alive() {
    let pool = pool();
    let mut events = pool.subscribe();
    let key = pool.keys().next().unwrap();
    key.mark_permanent();
    drop(pool);
    // Each key holds what the stream hangs on.
    let marked = events.next_event().now_or_never();
    assert!(matches!(marked, Some(Some(PoolEvent::Marked { .. }))));
    assert!(events.next_event().now_or_never().is_none());
    drop(key);
    assert!(matches!(events.next_event().now_or_never(), Some(None)));
}

#[test]
fn a_subscription_is_send_and_prints_no_key() {
    fn is_shareable<T: Send + Sync + Unpin + 'static>(_: &T) {}
    let events = pool().subscribe();
    is_shareable(&events);
    assert_eq!(format!("{events:?}"), "PoolEvents { .. }");
}
