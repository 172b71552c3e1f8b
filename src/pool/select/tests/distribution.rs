//! How requests are spread over the keys, as measured on whole pools.

use proptest::prelude::*;

use super::*;
use crate::pool::{Cause, Reason};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Usable,
    Disabled,
    CoolingDown,
    PermanentlyMarked,
    Suspected,
    OfALaterTier,
}

#[derive(Clone, Debug)]
struct Member {
    weight: u32,
    condition: Condition,
}

fn conditions() -> impl Strategy<Value = Condition> {
    prop_oneof![
        4 => Just(Condition::Usable),
        1 => Just(Condition::Disabled),
        1 => Just(Condition::CoolingDown),
        1 => Just(Condition::PermanentlyMarked),
        1 => Just(Condition::Suspected),
        1 => Just(Condition::OfALaterTier),
    ]
}

/// Keys with weights up to `max`, of which the first is usable.
fn members(max: u32) -> impl Strategy<Value = Vec<Member>> {
    let weights = prop_oneof![1..=8_u32.min(max), 1..=max];
    let member =
        (weights, conditions()).prop_map(|(weight, condition)| Member { weight, condition });
    prop::collection::vec(member, 1..12).prop_map(|mut members| {
        members[0].condition = Condition::Usable;
        members
    })
}

fn new_pool(selection: Selection, members: &[Member]) -> KeyPool {
    let keys = keys(members.len()).zip(members).map(|(key, member)| {
        let is_later = member.condition == Condition::OfALaterTier;
        key.weight(member.weight).tier(1 + u32::from(is_later))
    });
    let pool = pool_of(selection, keys);
    set_conditions(&pool, members);
    pool
}

fn set_conditions(pool: &KeyPool, members: &[Member]) {
    for (at, (key, member)) in pool.keys().zip(members).enumerate() {
        match member.condition {
            Condition::Usable | Condition::OfALaterTier => {}
            Condition::Disabled => {
                pool.disable(at).unwrap();
            }
            Condition::CoolingDown => {
                key.mark_temporary(Some(Duration::from_secs(3600)));
            }
            Condition::PermanentlyMarked => {
                key.mark_permanent();
            }
            Condition::Suspected => {
                key.suspect(Cause::of(Reason::Other));
            }
        }
    }
}

/// The weight of a key, or 0 if requests have a better one.
fn effective(member: &Member) -> u32 {
    match member.condition {
        Condition::Usable => member.weight,
        _ => 0,
    }
}

/// Checks shares to 2 %, and one turn for rounding.
fn check(taken: &[u32], weights: &[u32]) -> Result<(), TestCaseError> {
    let picks: u32 = taken.iter().sum();
    let total: u32 = weights.iter().sum();
    for (taken_by_key, weight) in taken.iter().zip(weights) {
        let expected = f64::from(picks) * f64::from(*weight) / f64::from(total);
        let difference = (f64::from(*taken_by_key) - expected).abs();
        prop_assert!(
            difference <= 0.02 * expected + 1.0 && (*weight > 0 || *taken_by_key == 0),
            "{taken:?} of {weights:?}"
        );
    }
    Ok(())
}

fn taken(pool: &KeyPool, picks: u32) -> Vec<u32> {
    let mut taken = vec![0; pool.len()];
    for _ in 0..picks {
        taken[picked(pool)] += 1;
    }
    taken
}

proptest! {
    #[test]
    fn keys_are_used_in_proportion_to_their_weights_within_2_percent(
        members in members(1000), later in prop::collection::vec(conditions(), 12), by_load: bool,
    ) {
        const PICKS: u32 = 2000;
        let selection = if by_load { Selection::least_in_flight() } else { Selection::weighted() };
        let pool = new_pool(selection, &members);
        let weights: Vec<_> = members.iter().map(effective).collect();
        check(&taken(&pool, PICKS), &weights)?;

        // Keys become unusable, and others return.
        let mut members = members;
        for (at, condition) in later.into_iter().enumerate().take(members.len()).skip(1) {
            if members[at].condition != Condition::OfALaterTier && condition != Condition::OfALaterTier {
                pool.reinstate(at).unwrap();
                members[at].condition = condition;
            }
        }
        set_conditions(&pool, &members);
        let weights: Vec<_> = members.iter().map(effective).collect();
        check(&taken(&pool, PICKS), &weights)?;
    }

    #[test]
    fn round_robin_uses_all_usable_keys_equally(members in members(1000), picks in 1_u32..500) {
        let pool = new_pool(Selection::round_robin(), &members);
        let taken = taken(&pool, picks);
        let usable = || members.iter().zip(&taken).filter(|(member, _)| effective(member) > 0);
        let (least, most) = (usable().map(|(_, count)| count).min(), usable().map(|(_, count)| count).max());
        prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?} of {:?}", taken, members);
        prop_assert_eq!(usable().map(|(_, count)| count).sum::<u32>(), picks);
    }

    #[test]
    fn least_in_flight_never_uses_a_key_with_more_requests_for_its_weight(
        members in members(20), ends in prop::collection::vec(any::<prop::sample::Index>(), 100),
        started in 1_usize..40,
    ) {
        let pool = new_pool(Selection::least_in_flight(), &members);
        let in_flight = || -> Vec<_> {
            let keys = pool.snapshot().keys;
            keys.iter().map(|key| key.in_flight.unwrap()).collect()
        };
        let mut held = Vec::new();
        for end in ends {
            let before = in_flight();
            let pick = pick(&pool);
            let at = pick.key.index();
            held.push(pick);
            let usable = (0..members.len()).filter(|other| effective(&members[*other]) > 0);
            for other in usable {
                prop_assert!(
                    before[at] * members[other].weight <= before[other] * members[at].weight,
                    "{at} of {before:?}"
                );
            }
            if held.len() > started {
                held.swap_remove(end.index(held.len()));
            }
        }
        let total: u32 = in_flight().iter().sum();
        prop_assert_eq!(total as usize, held.len());
        drop(held);
        prop_assert!(in_flight().iter().all(|count| *count == 0));
    }
}

#[test]
fn threads_together_use_keys_in_proportion_to_their_weights_within_2_percent() {
    const WEIGHTS: [u32; 4] = [1, 7, 20, 3];
    for selection in [Selection::weighted(), Selection::least_in_flight()] {
        let members = WEIGHTS.map(|weight| Member {
            weight,
            condition: Condition::Usable,
        });
        let pool = new_pool(selection, &members);
        // All requests stay in flight, so that a thread that is interrupted delays none of the others.
        let hold = || (0..3100).map(|_| pick(&pool)).collect::<Vec<_>>();
        let picks: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..5).map(|_| scope.spawn(hold)).collect();
            let threads = threads.into_iter();
            threads.flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut counts = [0_u32; WEIGHTS.len()];
        for pick in &picks {
            counts[pick.key.index()] += 1;
        }
        for (count, weight) in counts.iter().zip(WEIGHTS) {
            let expected = f64::from(weight) * 500.0;
            let difference = (f64::from(*count) - expected).abs();
            assert!(difference <= 0.02 * expected, "{selection}: {counts:?}");
        }
    }
}

#[test]
fn sessions_are_spread_in_proportion_to_weights_within_2_percent_if_a_key_is_lost() {
    const SESSIONS: u32 = 100_000;
    let pool = pool_of(
        Selection::in_order(),
        keys(4)
            .zip([2, 3, 9, 5])
            .map(|(key, weight)| key.weight(weight)),
    );
    pool.disable("k2").unwrap();
    let mut taken = [0_u32; 4];
    for session in 0..SESSIONS {
        let choice = KeyChoice::new().affinity(session.into());
        taken[pick_chosen(&pool, &choice, &[]).unwrap().key.index()] += 1;
    }
    for (taken, weight) in taken.into_iter().zip([2, 3, 0, 5]) {
        let expected = f64::from(SESSIONS) * f64::from(weight) / 10.0;
        let difference = (f64::from(taken) - expected).abs();
        assert!(difference <= 0.02 * expected, "{taken} of {expected}");
    }
}
