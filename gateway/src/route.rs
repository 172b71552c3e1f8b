//! A route: the requests that it serves, their upstream, and the layer with its pool of keys.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, request};
use tower::Layer;
use tower_key_failover::policy::ProviderPolicy;
use tower_key_failover::pool::KeyChoice;
use tower_key_failover::{KeyFailover, KeyFailoverLayer, KeyPool, ReplayBudget};

use crate::config::{PoolSettings, RouteConfig};
use crate::matcher::Matcher;
use crate::outage::Outage;
use crate::policy::Policy;
use crate::request_choice::{self, Affinity, ScopeSource};
use crate::upstream::Upstream;
use crate::upstream_client::{UpstreamClient, Versions};

pub struct Route {
    pub name: String,
    pub matcher: Matcher,
    pub policy: Policy,
    pub upstream: Upstream,
    /// `None` if the clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    pub pool_settings: PoolSettings,
    affinity: Option<Affinity>,
    scope: ScopeSource,
    /// Whether the scope is the model in the body if the path names none.
    pub reads_model: bool,
    pub outage: Outage,
    pub service: KeyFailover<UpstreamClient, Policy>,
    /// Uses HTTP/1.1 only, for WebSocket.
    pub http1: KeyFailover<UpstreamClient, Policy>,
}

/// What all routes share.
pub struct Shared {
    pub replay_budget: Option<ReplayBudget>,
    /// Whether somebody reads how long attempts take.
    pub needs_timings: bool,
}

impl Route {
    pub fn new(config: RouteConfig, pool: Option<Arc<KeyPool>>, shared: &Shared) -> Self {
        let (policy, settings) = (config.policy, config.settings);
        let mut layer = match &pool {
            Some(pool) => KeyFailoverLayer::new(policy.clone(), Arc::clone(pool)),
            None => KeyFailoverLayer::disabled(policy.clone()),
        };
        if let Some(attempts) = settings.max_attempts {
            layer = layer.max_attempts(attempts.get());
        }
        if let Some(bytes) = settings.max_replay_bytes {
            layer = layer.max_replay_bytes(bytes);
        }
        if let Some(budget) = &shared.replay_budget {
            layer = layer.replay_budget(budget.clone());
        }
        if let Some(time) = settings.wait_for_key.unless_zero() {
            layer = layer.wait_for_key(time);
        }
        layer = layer.timings(shared.needs_timings);
        let timeout = settings.upstream_timeout.unless_zero();
        let versions = match policy.name() {
            "grpc" => Versions::Http2,
            _ => Versions::Any,
        };
        Self {
            name: config.name,
            matcher: config.matcher,
            upstream: config.upstream,
            reads_model: pool.is_some() && settings.scope == ScopeSource::Auto,
            affinity: settings.affinity,
            scope: settings.scope,
            pool,
            pool_settings: config.pool_settings,
            outage: Outage::default(),
            service: layer.layer(UpstreamClient::new(versions, timeout)),
            http1: layer.layer(UpstreamClient::new(Versions::Http1, timeout)),
            policy,
        }
    }

    /// What the headers of a request say about the choice of its key.
    pub fn choice(&self, headers: &HeaderMap) -> Option<KeyChoice> {
        request_choice::of_headers(headers, self.affinity.as_ref(), &self.scope)
    }

    pub fn provider(&self) -> &'static str {
        self.policy.name()
    }

    /// Whether the request has its own key, and so uses none of the pool.
    pub fn is_byok(&self, head: &request::Parts) -> bool {
        // Copilot's policy treats every request as BYOK.
        self.policy.is_byok(head)
            && (!self.policy.is_byok_only() || head.headers.contains_key(AUTHORIZATION))
    }
}
