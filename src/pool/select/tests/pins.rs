//! Requests that require a key or a group.

use super::*;

fn exhausted(pool: &KeyPool, choice: &KeyChoice) -> (ExhaustedKind, Option<Duration>) {
    let exhausted = pool.exhausted(Some(choice), std::iter::empty());
    (exhausted.kind, exhausted.retry_after)
}

#[test]
fn a_request_can_require_a_key() {
    for name in ["in-order", "round-robin", "least-in-flight"] {
        let pool = pool_of(Selection::named(name).unwrap(), keys(3));
        let choice = KeyChoice::new().pin_key("k1");
        let pick = pick_chosen(&pool, &choice, &[]).unwrap();
        assert_eq!(pick.key.label(), Some("k1"));
        assert!(!pick.has_more);
        assert!(pick_chosen(&pool, &choice, &[pick.key]).is_none());
    }
}

#[test]
fn a_request_can_require_a_group() {
    let keys = keys(4)
        .enumerate()
        .map(|(at, key)| if at % 2 == 1 { key.group("acme") } else { key });
    let pool = pool_of(Selection::in_order(), keys);
    let choice = KeyChoice::new().pin_group("acme");
    let one = pick_chosen(&pool, &choice, &[]).unwrap();
    assert!(one.has_more);
    let two = pick_chosen(&pool, &choice, std::slice::from_ref(&one.key)).unwrap();
    assert_eq!([one.key.index(), two.key.index()], [1, 3]);
    assert!(pick_chosen(&pool, &choice, &[one.key, two.key]).is_none());
}

#[test]
fn a_key_that_the_pool_lacks_is_told_from_one_that_is_unusable() {
    let pool = pool_of(Selection::in_order(), keys(2));
    let unknown = KeyChoice::new().pin_key("k7");
    assert!(pick_chosen(&pool, &unknown, &[]).is_none());
    assert_eq!(
        exhausted(&pool, &unknown),
        (ExhaustedKind::UnknownPin, None)
    );
    let unknown = KeyChoice::new().pin_group("k0");
    assert_eq!(
        exhausted(&pool, &unknown),
        (ExhaustedKind::UnknownPin, None)
    );

    let known = KeyChoice::new().pin_key("k1");
    pool.disable("k1").unwrap();
    assert!(pick_chosen(&pool, &known, &[]).is_none());
    assert_eq!(exhausted(&pool, &known), (ExhaustedKind::Disabled, None));
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_that_of_the_required_key() {
    let pool = pool_of(Selection::in_order(), keys(2));
    for (key, seconds) in pool.keys().zip([5, 30]) {
        key.mark_temporary(Some(Duration::from_secs(seconds)));
    }
    let choice = KeyChoice::new().pin_key("k1");
    let wait = Some(Duration::from_secs(30));
    assert_eq!(
        exhausted(&pool, &choice),
        (ExhaustedKind::RateLimited, wait)
    );
}
