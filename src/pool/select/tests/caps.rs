//! Limits of the requests in flight.

use super::*;

fn capped(builder: impl FnOnce(KeyPoolBuilder) -> KeyPoolBuilder) -> KeyPool {
    builder(KeyPool::builder()).build().unwrap()
}

fn is_exhausted_without_a_wait(pool: &KeyPool) -> bool {
    let exhausted = pool.exhausted(None, std::iter::empty());
    exhausted.kind == ExhaustedKind::RateLimited && exhausted.retry_after.is_none()
}

#[test]
fn a_key_at_its_cap_is_passed_over_until_a_request_ends() {
    let pool = capped(|pool| pool.key("k0").max_in_flight(2).key("k1"));
    let held = [pick(&pool), pick(&pool)];
    assert!(held.iter().all(|pick| pick.key.index() == 0));
    assert_eq!(picked(&pool), 1);
    drop(held);
    assert_eq!(picked(&pool), 0);
}

#[test]
fn keys_at_their_caps_exhaust_the_pool_without_a_known_wait() {
    let pool = capped(|pool| pool.key("k0").max_in_flight(1));
    let held = pick(&pool);
    assert!(pool.pick(REQUEST, std::iter::empty()).is_none());
    assert!(is_exhausted_without_a_wait(&pool));
    drop(held);
    assert_eq!(picked(&pool), 0);
}

#[test]
fn the_keys_of_a_group_share_its_cap() {
    let pool = capped(|pool| {
        pool.key("k0")
            .group("acme")
            .key("k1")
            .group("acme")
            .max_in_flight(1)
            .key("k2")
            .group_max_in_flight("acme", 2)
    });
    let held = [pick(&pool), pick(&pool)];
    assert!(held.iter().all(|pick| pick.key.index() == 0));
    assert_eq!(picked(&pool), 2);
    let [one, two] = held;
    drop(one);
    pool.disable(0).unwrap();
    let other = pick(&pool);
    assert_eq!(other.key.index(), 1);
    drop(two);
    // The group has room, but the key has not.
    assert_eq!(picked(&pool), 2);
    drop(other);
    assert_eq!(picked(&pool), 1);
}

#[test]
fn requests_are_counted_only_if_that_is_configured() {
    let pool = capped(|pool| pool.key("k0").key("k1").max_in_flight(1));
    assert!(pick(&pool).in_flight.is_none());
    pool.disable(0).unwrap();
    assert!(pick(&pool).in_flight.is_some());
    let counted: Vec<_> = pool
        .snapshot()
        .keys
        .iter()
        .map(|key| key.in_flight)
        .collect();
    assert_eq!(counted, [None, Some(0)]);
}

#[test]
fn a_reload_changes_a_cap_and_keeps_the_count() {
    let pool = pool_of(
        Selection::in_order(),
        keys(2).map(|key| key.max_in_flight(1)),
    );
    let held = pick(&pool);
    let cap = |cap| keys(2).map(move |key| key.max_in_flight(cap));
    pool.replace_keys(cap(3)).unwrap();
    let more = [pick(&pool), pick(&pool)];
    assert!(more.iter().all(|pick| pick.key.index() == 0));
    assert_eq!(picked(&pool), 1);
    drop(held);
    pool.replace_keys(cap(2)).unwrap();
    assert_eq!(picked(&pool), 1);
}

#[test]
fn concurrent_requests_never_exceed_a_cap() {
    const CAP: u32 = 3;
    let pool = capped(|pool| {
        pool.key("k0")
            .group("acme")
            .max_in_flight(CAP)
            .key("k1")
            .group("acme")
            .group_max_in_flight("acme", CAP + 1)
    });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let picks: Vec<_> = (0..3)
                        .filter_map(|_| pool.pick(REQUEST, std::iter::empty()))
                        .collect();
                    let keys = pool.snapshot().keys;
                    assert!(keys[0].in_flight.unwrap() <= CAP);
                    drop(picks);
                }
            });
        }
    });
    let held: Vec<_> = (0..10)
        .map_while(|_| pool.pick(REQUEST, std::iter::empty()))
        .collect();
    assert_eq!(held.len(), CAP as usize + 1, "no place was lost");
}
