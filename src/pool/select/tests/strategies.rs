//! The strategies, and their order of usable keys.

use super::*;

#[test]
fn in_order_uses_the_first_usable_key() {
    let pool = pool_of(Selection::in_order(), keys(3));
    assert_eq!([picked(&pool), picked(&pool)], [0, 0]);
    pool.disable("k0").unwrap();
    assert_eq!([picked(&pool), picked(&pool)], [1, 1]);
}

#[test]
fn a_request_has_more_keys_only_if_another_one_is_usable() {
    for name in ["in-order", "round-robin", "weighted", "least-in-flight"] {
        let pool = pool_of(Selection::named(name).unwrap(), keys(3));
        assert!(pick(&pool).has_more, "{name}");
        pool.disable("k1").unwrap();
        pool.disable("k2").unwrap();
        assert!(!pick(&pool).has_more, "{name}");
        let alone = pool_of(Selection::named(name).unwrap(), keys(1));
        assert!(!pick(&alone).has_more, "{name}");
    }
}

#[test]
fn every_strategy_uses_the_lowest_tier_first() {
    for name in ["in-order", "round-robin", "weighted", "least-in-flight"] {
        let keys = keys(4).zip([2, 3, 1, 1]).map(|(key, tier)| key.tier(tier));
        let pool = pool_of(Selection::named(name).unwrap(), keys);
        let mut held: Vec<_> = (0..20).map(|_| pick(&pool)).collect();
        assert!(held.iter().all(|pick| pick.key.index() >= 2), "{name}");
        pool.disable("k2").unwrap();
        pool.disable("k3").unwrap();
        held.extend((0..20).map(|_| pick(&pool)));
        assert!(
            held[20..].iter().all(|pick| pick.key.index() == 0),
            "{name}"
        );
    }
}

#[test]
fn round_robin_uses_the_usable_keys_in_turn() {
    let pool = pool_of(Selection::round_robin(), keys(4));
    let first = picked(&pool);
    let next: Vec<_> = (0..4).map(|_| picked(&pool)).collect();
    let expected: Vec<_> = (1..5).map(|step| (first + step) % 4).collect();
    assert_eq!(next, expected);
    pool.disable("k1").unwrap();
    let turns = shares(&pool, 300)
        .into_iter()
        .map(|share| (share * 300.0).round());
    assert_eq!(turns.collect::<Vec<_>>(), [100.0, 0.0, 100.0, 100.0]);
}

#[test]
fn round_robin_ignores_weights_and_weighted_does_not() {
    let keys = || keys(2).zip([9, 1]).map(|(key, weight)| key.weight(weight));
    let pool = pool_of(Selection::round_robin(), keys());
    assert_eq!(shares(&pool, 1000), [0.5, 0.5]);
    let pool = pool_of(Selection::weighted(), keys());
    let shares = shares(&pool, 1000);
    assert!((shares[0] - 0.9).abs() < 0.005, "{shares:?}");
}

#[test]
fn the_usable_keys_share_the_turns_of_another_one_in_proportion_to_their_weights() {
    let keys = keys(3)
        .zip([6, 2, 1])
        .map(|(key, weight)| key.weight(weight));
    let pool = pool_of(Selection::weighted(), keys);
    pool.disable("k0").unwrap();
    let shares = shares(&pool, 3000);
    assert!((shares[1] - 2.0 / 3.0).abs() < 0.01, "{shares:?}");
    assert!((shares[2] - 1.0 / 3.0).abs() < 0.01, "{shares:?}");
}

#[test]
fn least_in_flight_uses_the_key_with_the_fewest_requests() {
    let pool = pool_of(Selection::least_in_flight(), keys(3));
    let mut held: Vec<_> = (0..6).map(|_| pick(&pool)).collect();
    let in_flight = |pool: &KeyPool| -> Vec<_> {
        let keys = pool.snapshot().keys;
        keys.iter().map(|key| key.in_flight).collect()
    };
    assert_eq!(in_flight(&pool), [Some(2), Some(2), Some(2)]);
    held.retain(|pick| pick.key.index() != 1);
    assert_eq!(in_flight(&pool), [Some(2), Some(0), Some(2)]);
    held.extend([pick(&pool), pick(&pool)]);
    assert_eq!(in_flight(&pool), [Some(2), Some(2), Some(2)]);
}

#[test]
fn least_in_flight_takes_turns_when_no_request_is_in_flight() {
    let keys = keys(3)
        .zip([2, 1, 1])
        .map(|(key, weight)| key.weight(weight));
    let pool = pool_of(Selection::least_in_flight(), keys);
    let shares = shares(&pool, 400);
    for (share, expected) in shares.iter().zip([0.5, 0.25, 0.25]) {
        assert!((share - expected).abs() < 0.01, "{shares:?}");
    }
}

#[test]
fn requests_in_flight_stay_counted_over_a_reload() {
    let pool = pool_of(Selection::least_in_flight(), keys(2));
    let held = [pick(&pool), pick(&pool), pick(&pool)];
    let busy = held[0].key.index();
    let mut reversed: Vec<_> = keys(2).collect();
    reversed.reverse();
    pool.replace_keys(reversed).unwrap();
    let in_flight = |at: usize| pool.snapshot().keys[at].in_flight;
    assert_eq!(in_flight(0).unwrap() + in_flight(1).unwrap(), 3);
    assert_eq!(in_flight(1 - busy), Some(2));
    drop(held);
    assert_eq!([in_flight(0), in_flight(1)], [Some(0), Some(0)]);
}

#[test]
fn a_suspected_key_comes_last_in_every_strategy() {
    for name in ["in-order", "round-robin", "weighted", "least-in-flight"] {
        let pool = pool_of(Selection::named(name).unwrap(), keys(3));
        let key = pool.keys().nth(1).unwrap();
        key.suspect(crate::pool::Cause::of(crate::pool::Reason::Other));
        let held: Vec<_> = (0..12).map(|_| pick(&pool)).collect();
        assert!(held.iter().all(|pick| pick.key.index() != 1), "{name}");
    }
}
