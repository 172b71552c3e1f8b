//! Which key a request uses.

use std::collections::HashMap;
use std::time::Duration;

use super::{Pick, PickRequest, Selection};
use crate::pool::error::ExhaustedKind;
use crate::pool::{Key, KeyChoice, KeyPool, KeyPoolBuilder, NewKey};

const REQUEST: PickRequest<'static> = PickRequest {
    choice: None,
    can_continue: true,
    has_probed: false,
    yields_to_waiters: false,
    may_exceed: true,
};

fn pick(pool: &KeyPool) -> Pick {
    pool.pick(REQUEST, std::iter::empty()).unwrap()
}

fn picked(pool: &KeyPool) -> usize {
    pick(pool).key.index()
}

fn pick_chosen(pool: &KeyPool, choice: &KeyChoice, tried: &[Key]) -> Option<Pick> {
    let request = PickRequest {
        choice: Some(choice),
        ..REQUEST
    };
    pool.pick(request, tried.iter())
}

/// The labels of the keys, in the order in which a session uses them.
fn order(pool: &KeyPool, session: u64) -> Vec<String> {
    let choice = KeyChoice::new().affinity(session);
    let mut tried = Vec::new();
    while let Some(pick) = pick_chosen(pool, &choice, &tried) {
        tried.push(pick.key);
    }
    let labels = tried.iter().map(|key| key.label().unwrap_or(key.hint()));
    labels.map(str::to_owned).collect()
}

fn first(pool: &KeyPool, session: u64) -> String {
    order(pool, session).swap_remove(0)
}

/// Keys with the labels `k0`, `k1` and so on.
fn keys(len: usize) -> impl Iterator<Item = NewKey> {
    (0..len).map(|at| NewKey::new(format!("secret-{at}")).label(format!("k{at}")))
}

fn pool_of(selection: Selection, keys: impl IntoIterator<Item = NewKey>) -> KeyPool {
    let pool = KeyPool::builder()
        .key("placeholder")
        .selection(selection)
        .build()
        .unwrap();
    pool.replace_keys(keys).unwrap();
    pool
}

fn shares(pool: &KeyPool, picks: u32) -> Vec<f64> {
    let mut counts = vec![0_u32; pool.len()];
    for _ in 0..picks {
        counts[picked(pool)] += 1;
    }
    let share = |count| f64::from(count) / f64::from(picks);
    counts.into_iter().map(share).collect()
}

mod strategies {
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
}

mod affinity {
    use super::*;

    #[test]
    fn a_session_keeps_its_key_and_its_fallbacks() {
        for name in ["in-order", "round-robin", "weighted", "least-in-flight"] {
            let pool = pool_of(Selection::named(name).unwrap(), keys(5));
            for session in 0..50 {
                let before = order(&pool, session);
                assert_eq!(before.len(), 5);
                assert_eq!(order(&pool, session), before);
                pool.disable(&*before[0]).unwrap();
                assert_eq!(order(&pool, session), before[1..]);
                pool.reinstate(&*before[0]).unwrap();
                assert_eq!(order(&pool, session), before);
            }
        }
    }

    #[test]
    fn replicas_agree_whatever_the_order_of_their_keys() {
        let one = pool_of(Selection::in_order(), keys(7));
        let mut reversed: Vec<_> = keys(7).collect();
        reversed.reverse();
        let other = pool_of(Selection::round_robin(), reversed);
        for session in 0..200 {
            assert_eq!(order(&one, session), order(&other, session));
        }
    }

    #[test]
    fn a_reload_moves_only_the_sessions_of_the_keys_that_change() {
        let pool = pool_of(Selection::in_order(), keys(5));
        let before: Vec<_> = (0..2000).map(|session| first(&pool, session)).collect();
        pool.remove_key("k2").unwrap();
        pool.add_key(NewKey::new("new").label("new")).unwrap();
        let mut moved_to = HashMap::new();
        for (session, before) in (0..).zip(before) {
            let after = first(&pool, session);
            if after != before {
                assert!(before == "k2" || after == "new", "{before} to {after}");
                *moved_to.entry(after).or_insert(0) += 1;
            }
        }
        assert!((300..500).contains(&moved_to["new"]), "{moved_to:?}");
    }

    #[test]
    fn keys_of_one_cache_domain_share_its_sessions() {
        let domains = ["a", "b", "a", "b"];
        let keys = keys(4)
            .zip(domains)
            .map(|(key, domain)| key.cache_domain(domain));
        let pool = pool_of(Selection::round_robin(), keys);
        let choice = KeyChoice::new().affinity(1);
        let picked = |_| pick_chosen(&pool, &choice, &[]).unwrap().key.index();
        let picked: Vec<_> = (0..4).map(picked).collect();
        assert_eq!(picked[0] % 2, picked[1] % 2);
        assert_ne!(picked[0], picked[1]);
        assert_eq!(picked[..2], picked[2..]);
    }

    #[test]
    fn a_group_is_a_cache_domain_unless_the_key_names_another() {
        let with = |set: fn(NewKey) -> NewKey| {
            let rest = keys(6).skip(1);
            pool_of(Selection::in_order(), keys(1).map(set).chain(rest))
        };
        let group = with(|key| key.group("acme"));
        let domain = with(|key| key.cache_domain("acme"));
        let both = with(|key| key.group("other").cache_domain("acme"));
        let label = with(|key| key);
        let orders = |pool: &KeyPool| (0..100).map(|session| order(pool, session)).collect();
        let expected: Vec<Vec<String>> = orders(&group);
        assert_eq!(orders(&domain), expected);
        assert_eq!(orders(&both), expected);
        let other: Vec<Vec<String>> = orders(&label);
        assert_ne!(other, expected);
    }

    #[test]
    fn heavier_keys_get_more_sessions() {
        let keys = keys(3)
            .zip([1, 2, 5])
            .map(|(key, weight)| key.weight(weight));
        let pool = pool_of(Selection::in_order(), keys);
        let mut sessions = HashMap::new();
        for session in 0..8000 {
            *sessions.entry(first(&pool, session)).or_insert(0) += 1;
        }
        for (label, expected) in [("k0", 1000), ("k1", 2000), ("k2", 5000)] {
            assert!(i32::abs(sessions[label] - expected) < 100, "{sessions:?}");
        }
    }

    #[test]
    fn a_session_leaves_a_key_at_its_cap_and_returns() {
        let keys = keys(3).map(|key| key.max_in_flight(1));
        let pool = pool_of(Selection::in_order(), keys);
        let choice = KeyChoice::new().affinity(9);
        let held = pick_chosen(&pool, &choice, &[]).unwrap();
        let other = pick_chosen(&pool, &choice, &[]).unwrap();
        assert_ne!(held.key.index(), other.key.index());
        let home = held.key.index();
        drop(held);
        let again = pick_chosen(&pool, &choice, &[]).unwrap();
        assert_eq!(again.key.index(), home);
    }
}

mod pins {
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
}

mod caps {
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
}
