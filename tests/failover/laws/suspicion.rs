//! What suspicion can and cannot do.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tower_key_failover::pool::KeyState;

use super::config;
use super::provider::{Health, Kind, Odd};
use super::traffic::{events, keys, kind, play};
use super::world::{Attempt, World, run};

/// Whether the refusal of this attempt leaves open who is at fault.
fn is_suspicious(attempt: &Attempt) -> bool {
    let by_request = match attempt.kind {
        Kind::Good | Kind::Owned(_) => !attempt.served,
        Kind::Odd(odd) => matches!(
            odd,
            Odd::Unauthorized | Odd::Forbidden | Odd::ForbiddenWithoutBody
        ),
        Kind::ServerError => false,
    };
    by_request && attempt.response.is_some()
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn a_key_that_any_request_succeeds_with_is_never_permanently_marked_by_suspicion(
        keys in keys(6),
        jitter: u64,
        events in events(1..120),
    ) {
        run(async {
            let world = World::new(&keys, jitter);
            world.warm_up().await;
            play(&world, &events).await;
            let attempts = world.attempts();
            let responses = |attempt: &Attempt| attempt.response.unwrap_or(usize::MAX);
            for (key, marked) in world.convictions() {
                if !world.is_good(key) {
                    continue;
                }
                // A request was refused with this key, then served with another, and in between nobody
                // was served with this one.
                let convicts = |refused: &Attempt| {
                    let convicting = attempts.iter().find(|it| it.request == refused.request && it.served);
                    convicting.is_some_and(|convicting| {
                        let (from, to) = (responses(refused), responses(convicting));
                        let between = |it: &&Attempt| {
                            it.key == key && it.served && (from + 1..to).contains(&responses(it))
                        };
                        to <= marked && !attempts.iter().any(|it| between(&it))
                    })
                };
                let mut refusals = attempts.iter().filter(|it| it.key == key && !it.served);
                // A key that has not succeeded yet is marked by a 401.
                let is_cold = |refused: &Attempt| {
                    refused.kind == Kind::Odd(Odd::Unauthorized)
                        && !attempts.iter().any(|it| {
                            it.key == key && it.served && responses(it) < responses(refused)
                        })
                };
                assert!(
                    refusals.any(|refused| convicts(refused) || is_cold(refused)),
                    "key {key} was marked permanently without a conviction"
                );
            }
        });
    }

    #[test]
    fn a_request_makes_at_most_one_probe_and_at_most_three_suspicions(
        keys in keys(8),
        jitter: u64,
        events in events(1..120),
    ) {
        run(async {
            let world = World::new(&keys, jitter);
            play(&world, &events).await;
            let mut requests: BTreeMap<usize, Vec<Attempt>> = BTreeMap::new();
            for attempt in world.attempts() {
                requests.entry(attempt.request).or_default().push(attempt);
            }
            for attempts in requests.values() {
                let probes = attempts.iter().filter(|it| it.state != KeyState::Valid);
                assert!(probes.count() <= 1, "{attempts:?}");
                let suspicions = attempts.iter().filter(|it| {
                    let is_revoked = keys[it.key] == Health::Revoked;
                    is_suspicious(it) && !is_revoked && it.kind != Kind::Odd(Odd::Unauthorized)
                });
                assert!(suspicions.count() <= 3, "{attempts:?}");
            }
        });
    }

    #[test]
    fn a_success_never_leaves_its_key_suspected(
        keys in keys(6),
        jitter: u64,
        kinds in vec(kind(), 1..40),
    ) {
        run(async {
            let world = World::new(&keys, jitter);
            for kind in kinds {
                world.send(kind, Duration::from_millis(10), None).await;
                if let Some(last) = world.attempts().last().filter(|last| last.served) {
                    assert_eq!(world.suspicions(last.key), 0, "key {} after {kind:?}", last.key);
                }
            }
        });
    }
}
