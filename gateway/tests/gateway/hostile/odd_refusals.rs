//! A client whose requests are always refused, whatever their key, next to good traffic.

use std::time::Duration;

use futures_util::future::join_all;

use crate::hostile::traffic::{
    BUSY_MACHINE, Caller, GOOD_PATH, key, provider, start, start_with, with_key_counts,
};

/// Sends odd requests and good traffic at the same time. Every good request succeeds.
async fn attack_fails(caller: &Caller, path: &str, keys: usize) {
    let (statuses, failures) = tokio::join!(caller.attack(path), caller.good_traffic());
    assert_eq!(failures, 0, "{keys} keys");
    // Clients react to a 401 by renewing their own credential, which is not the one that was refused.
    assert!(!statuses.contains(&401), "{keys} keys: {statuses:?}");
}

#[tokio::test]
async fn odd_403s_do_not_affect_the_other_clients_of_a_cold_gateway() {
    with_key_counts(async |keys| {
        let upstream = provider().await;
        let gateway = start(&upstream, keys).await;
        let caller = Caller::new(&gateway);
        assert_eq!(caller.send("/odd/403").await, 403);

        attack_fails(&caller, "/odd/403", keys).await;
    })
    .await;
}

#[tokio::test]
async fn odd_403s_do_not_affect_the_other_clients_of_a_warm_gateway() {
    with_key_counts(async |keys| {
        let upstream = provider().await;
        let gateway = start(&upstream, keys).await;
        let caller = Caller::new(&gateway);
        assert_eq!(caller.send(GOOD_PATH).await, 200);

        attack_fails(&caller, "/odd/403", keys).await;
    })
    .await;
}

#[tokio::test]
async fn odd_401s_do_not_affect_the_other_clients_of_a_warm_gateway() {
    with_key_counts(async |keys| {
        let upstream = provider().await;
        let gateway = start(&upstream, keys).await;
        let caller = Caller::new(&gateway);
        assert_eq!(caller.send(GOOD_PATH).await, 200);

        attack_fails(&caller, "/odd/401", keys).await;
    })
    .await;
}

#[tokio::test]
async fn odd_403s_do_not_affect_the_other_clients_if_the_first_key_is_dead() {
    join_all(
        ["sk-hostile-dead-401", "sk-hostile-dead-403"].map(async |dead| {
            let upstream = provider().await;
            let keys = [dead, &key(1)].join(",");
            let gateway = start_with(&upstream, 2, |start| start.env("GATEWAY_KEYS", &keys)).await;
            let caller = Caller::new(&gateway);

            attack_fails(&caller, "/odd/403", 2).await;
        }),
    )
    .await;
}

/// A 401 marks keys that have not succeeded yet.
#[tokio::test]
async fn a_cold_gateway_serves_again_within_two_seconds_after_an_odd_401() {
    with_key_counts(async |keys| {
        let upstream = provider().await;
        let gateway = start(&upstream, keys).await;
        let caller = Caller::new(&gateway);
        caller.send("/odd/401").await;

        let took = caller.recovers().await;
        let most = Duration::from_secs(2) + BUSY_MACHINE;
        assert!(took < most, "{keys} keys: {took:?}");
        attack_fails(&caller, "/odd/401", keys).await;
    })
    .await;
}
