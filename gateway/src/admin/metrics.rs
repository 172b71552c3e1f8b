//! What Prometheus asks for. It takes a build with the feature `metrics`.

#[cfg(feature = "metrics")]
pub use self::recorded::Metrics;
#[cfg(not(feature = "metrics"))]
pub use self::without::Metrics;

#[cfg(feature = "metrics")]
mod recorded {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::header::CONTENT_TYPE;
    use axum::response::{IntoResponse, Response};
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
    use tower_key_failover::KeyPool;

    /// In seconds.
    const TIMES: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

    const ATTEMPTS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 16.0, 32.0];

    pub struct Metrics {
        rendered: PrometheusHandle,
        pool: Option<Arc<KeyPool>>,
    }

    impl Metrics {
        /// From now on the library's metrics are recorded.
        pub fn start(pool: Option<Arc<KeyPool>>) -> Self {
            let named = |name: &str| Matcher::Full(name.to_owned());
            let rendered = PrometheusBuilder::new()
                .set_buckets_for_metric(named("key_pool_failover_attempts"), &ATTEMPTS)
                .and_then(|builder| {
                    builder
                        .set_buckets_for_metric(named("key_pool_refused_attempt_seconds"), &TIMES)
                })
                .and_then(PrometheusBuilder::install_recorder)
                .expect("there are buckets, and no recorder so far");
            let histograms = rendered.clone();
            // What was recorded is held one by one until it is counted.
            tokio::spawn(async move {
                let mut often = tokio::time::interval(Duration::from_secs(5));
                loop {
                    often.tick().await;
                    histograms.run_upkeep();
                }
            });
            Self { rendered, pool }
        }

        pub fn show(&self) -> Response {
            // A key whose cooldown is over has told nobody.
            if let Some(pool) = &self.pool {
                pool.record_metrics();
            }
            let kind = (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
            ([kind], self.rendered.render()).into_response()
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod without {
    use std::sync::Arc;

    use axum::http::StatusCode;
    use axum::response::Response;
    use tower_key_failover::KeyPool;

    use crate::admin::failed;

    pub struct Metrics(());

    impl Metrics {
        pub fn start(_: Option<Arc<KeyPool>>) -> Self {
            Self(())
        }

        #[allow(clippy::unused_self)]
        pub fn show(&self) -> Response {
            let why = "this build has no metrics: build it with --features metrics";
            failed(StatusCode::NOT_FOUND, why)
        }
    }
}
