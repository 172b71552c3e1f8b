//! Metrics for Prometheus, with the feature `metrics`.

#[cfg(feature = "metrics")]
pub use self::recorded::Metrics;
#[cfg(not(feature = "metrics"))]
pub use self::without::Metrics;

#[cfg(feature = "metrics")]
mod recorded {
    use std::fmt::Write;
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::header::CONTENT_TYPE;
    use axum::response::{IntoResponse, Response};
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
    use metrics_util::MetricKindMask;

    use crate::gateway::Gateway;
    use crate::replicas::Replicas;

    /// Buckets in seconds.
    const TIMES: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

    /// How long the gauges of a removed pool are shown. Those of others are set before they are shown.
    const REMOVED: Duration = Duration::from_secs(60);

    const ATTEMPTS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 16.0, 32.0];

    pub struct Metrics {
        rendered: PrometheusHandle,
        gateway: Arc<Gateway>,
        replicas: Option<Arc<Replicas>>,
    }

    impl Metrics {
        /// Installs the recorder for the library's metrics.
        pub fn start(gateway: Arc<Gateway>, replicas: Option<Arc<Replicas>>) -> Self {
            let named = |name: &str| Matcher::Full(name.to_owned());
            let rendered = PrometheusBuilder::new()
                .set_buckets_for_metric(named("key_pool_failover_attempts"), &ATTEMPTS)
                .and_then(|builder| {
                    builder
                        .set_buckets_for_metric(named("key_pool_refused_attempt_seconds"), &TIMES)
                })
                .map(|builder| builder.idle_timeout(MetricKindMask::GAUGE, Some(REMOVED)))
                .and_then(PrometheusBuilder::install_recorder)
                .expect("the buckets are valid, and this is the only recorder");
            let histograms = rendered.clone();
            // Histograms keep every value until they are aggregated.
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(Duration::from_secs(5));
                loop {
                    interval.tick().await;
                    histograms.run_upkeep();
                }
            });
            Self {
                rendered,
                gateway,
                replicas,
            }
        }

        pub fn show(&self) -> Response {
            // The end of a cooldown emits no event.
            for pool in self.gateway.routes().pools() {
                pool.record_metrics();
            }
            let kind = (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
            let mut text = self.rendered.render();
            let name = "gateway_byok_requests_total";
            let _ = write!(
                text,
                "# HELP {name} Requests that brought their own key\n# TYPE {name} counter\n\
                 {name} {}\n",
                self.gateway.byok.count()
            );
            if let Some(replicas) = &self.replicas {
                replicas.write_metrics(&mut text);
            }
            ([kind], text).into_response()
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod without {
    use std::sync::Arc;

    use axum::http::StatusCode;
    use axum::response::Response;

    use crate::admin::state::failed;
    use crate::gateway::Gateway;
    use crate::replicas::Replicas;

    pub struct Metrics(());

    impl Metrics {
        pub fn start(_: Arc<Gateway>, _: Option<Arc<Replicas>>) -> Self {
            Self(())
        }

        #[allow(clippy::unused_self)]
        pub fn show(&self) -> Response {
            let why = "metrics require a build with --features metrics";
            failed(StatusCode::NOT_FOUND, why)
        }
    }
}
