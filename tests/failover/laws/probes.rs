//! When marked keys are probed, and what that costs.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::sleep;

use super::config;
use super::provider::{Health, Kind};
use super::world::{World, run};

const HOUR: Duration = Duration::from_secs(60 * 60);
const FIRST_INTERVAL: Duration = Duration::from_secs(60);

/// The times of all attempts with the first key, which is dead, while traffic flows for three hours.
async fn attempts_with_a_dead_key(dead: Health, every: Duration, jitter: u64) -> Vec<Duration> {
    let world = World::new(&[dead, Health::Good, Health::Good], jitter);
    while world.elapsed() < 3 * HOUR {
        let outcome = world
            .send(Kind::Good, Duration::from_millis(10), None)
            .await;
        assert_eq!(outcome.status, Some(200));
        sleep(every).await;
    }
    let attempts = world.attempts().into_iter().filter(|it| it.key == 0);
    attempts.map(|it| it.at).collect()
}

fn dead() -> impl Strategy<Value = Health> {
    prop_oneof![Just(Health::Revoked), Just(Health::Forbidden)]
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn a_dead_key_costs_at_most_a_few_attempts_per_hour(
        dead in dead(),
        seconds in 1..20_u64,
        jitter: u64,
    ) {
        run(async {
            let attempts = attempts_with_a_dead_key(dead, Duration::from_secs(seconds), jitter).await;
            for (hour, most) in [(0, 8), (1, 3), (2, 3)] {
                let in_hour = |at: &&Duration| (hour * HOUR..(hour + 1) * HOUR).contains(*at);
                let count = attempts.iter().filter(in_hour).count();
                assert!(count <= most, "{count} attempts in hour {hour}: {attempts:?}");
            }
        });
    }

    #[test]
    fn no_permanently_marked_key_stays_unprobed_for_longer_than_its_interval_and_half(
        seconds in 1..20_u64,
        jitter: u64,
    ) {
        run(async {
            let every = Duration::from_secs(seconds);
            let attempts = attempts_with_a_dead_key(Health::Revoked, every, jitter).await;
            let mut interval = FIRST_INTERVAL;
            for pair in attempts.windows(2) {
                let gap = pair[1] - pair[0];
                let most = interval * 3 / 2 + every + Duration::from_secs(1);
                assert!(gap <= most, "{gap:?} with an interval of {interval:?}");
                assert!(2 * gap >= interval, "{gap:?} with an interval of {interval:?}");
                interval = (2 * interval).min(HOUR);
            }
            let since = 3 * HOUR - *attempts.last().unwrap();
            assert!(since <= interval * 3 / 2 + every, "{since:?} with an interval of {interval:?}");
        });
    }
}
