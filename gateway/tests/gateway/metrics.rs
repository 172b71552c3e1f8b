//! Metrics for Prometheus.

use crate::support::{GOOD, Gateway, LIMITED, REVOKED, gateway, get, post, send, upstream};

async fn after_a_failover() -> Gateway {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.admin().admin_token().listen().await;
    send(post(&gateway.url("/"))).await;
    gateway
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn states_transitions_attempts_and_lost_time_are_counted() {
    let gateway = after_a_failover().await;
    gateway.change("/keys/0/reinstate").await;
    gateway.change("/keys/2/disable").await;

    let response = send(get(&gateway.admin_url("/metrics"))).await;

    assert_eq!(response.status, 200);
    let kind = response.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    for line in [
        "# TYPE key_pool_state gauge",
        "key_pool_state{pool=\"openai\",state=\"valid\"} 1",
        "key_pool_state{pool=\"openai\",state=\"temporary\"} 1",
        "key_pool_state{pool=\"openai\",state=\"permanent\"} 1",
        "key_pool_state_transitions_total{pool=\"openai\",state=\"permanent\",reason=\"unauthorized\"} 1",
        "key_pool_state_transitions_total{pool=\"openai\",state=\"temporary\",reason=\"rate_limited\"} 1",
        "key_pool_state_transitions_total{pool=\"openai\",state=\"valid\",reason=\"operator\"} 1",
        "# TYPE key_pool_failover_attempts histogram",
        "key_pool_failover_attempts_bucket{pool=\"openai\",le=\"2\"} 0",
        "key_pool_failover_attempts_bucket{pool=\"openai\",le=\"3\"} 1",
        "key_pool_refused_attempt_seconds_count{pool=\"openai\"} 2",
    ] {
        assert!(
            response.text.lines().any(|there| there == line),
            "{line} in {}",
            response.text
        );
    }
    assert!(!response.text.contains("canary"));
}

#[cfg(not(feature = "metrics"))]
#[tokio::test]
async fn a_build_without_metrics_reports_it() {
    let gateway = after_a_failover().await;

    let response = send(get(&gateway.admin_url("/metrics"))).await;

    assert_eq!(response.status, 404);
    assert!(
        response.text.contains("--features metrics"),
        "{}",
        response.text
    );
}
