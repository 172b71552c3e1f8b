//! Sessions that keep their keys.

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
