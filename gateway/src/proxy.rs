//! Handles one request: checks it, sets its target and calls the layer.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderValue, Request, Response, StatusCode, Version, request};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use secrecy::SecretString;
use tower::{Layer, ServiceExt};
use tower_key_failover::policy::ProviderPolicy;
use tower_key_failover::{FailoverInfo, KeyFailover, KeyFailoverLayer, ReplayBudget, ResponseBody};
use tracing::warn;

use crate::byok::ByokRequests;
use crate::config::{Config, unless_zero};
use crate::connections::Place;
use crate::failovers::{Failovers, RequestSummary};
use crate::policy::Policy;
use crate::upgrade::{self, Tunnels};
use crate::upstream::Upstream;
use crate::upstream_client::{UpstreamClient, UpstreamError, Versions};
use crate::{client_token, headers, local_response, origin, target, timing};

/// The streamed response of the upstream, or the gateway's own.
type ProxyResponse = Response<Either<ResponseBody<Incoming>, Full<Bytes>>>;

pub struct Proxy {
    service: KeyFailover<UpstreamClient, Policy>,
    /// Uses HTTP/1.1 only, for WebSocket.
    http1: KeyFailover<UpstreamClient, Policy>,
    pub tunnels: Tunnels,
    policy: Policy,
    upstream: Upstream,
    client_token: Option<SecretString>,
    is_local_only: bool,
    pub byok: Arc<ByokRequests>,
    failovers: Arc<Failovers>,
    expose_failover: bool,
}

impl Proxy {
    pub fn new(config: &Config, failovers: Arc<Failovers>) -> Self {
        let policy = config.policy.clone();
        let mut layer = match &config.pool {
            Some(pool) => KeyFailoverLayer::new(policy.clone(), pool.clone()),
            None => KeyFailoverLayer::disabled(policy.clone()),
        };
        let limits = &config.limits;
        if let Some(attempts) = limits.max_attempts {
            layer = layer.max_attempts(attempts.get());
        }
        if let Some(bytes) = limits.max_replay_bytes {
            layer = layer.max_replay_bytes(bytes);
        }
        if let Some(bytes) = limits.replay_budget {
            layer = layer.replay_budget(ReplayBudget::new(bytes));
        }
        if let Some(time) = unless_zero(limits.wait_for_key) {
            layer = layer.wait_for_key(time);
        }
        // Nobody else reads the times.
        layer = layer.timings(config.expose_failover || config.admin.is_some());
        let timeout = unless_zero(limits.upstream_timeout);
        let versions = match policy.name() {
            "grpc" => Versions::Http2,
            _ => Versions::All,
        };
        Self {
            service: layer.layer(UpstreamClient::new(versions, timeout)),
            http1: layer.layer(UpstreamClient::new(Versions::Http1, timeout)),
            tunnels: Tunnels::default(),
            policy,
            upstream: config.upstream.clone(),
            client_token: config.client_token.clone(),
            is_local_only: config.is_local_only(),
            byok: Arc::default(),
            failovers,
            expose_failover: config.expose_failover,
        }
    }

    pub async fn forward(&self, request: Request<Incoming>) -> Result<ProxyResponse, Infallible> {
        let (mut head, body) = request.into_parts();
        if let Err(what) = target::normalize(&mut head.uri) {
            return Ok(self.error(StatusCode::BAD_REQUEST, what));
        }
        if self.is_local_only && !origin::has_local_host(&head.uri, &head.headers) {
            let what = "without a client token, the host must be localhost or a loopback address";
            return Ok(self.error(StatusCode::MISDIRECTED_REQUEST, what));
        }
        if self.is_local_only
            && origin::is_cross_origin(&head.uri, &head.headers)
            && !self.brings_own_key(&head)
        {
            let what = "without a client token, pages of other origins cannot use the keys";
            return Ok(self.error(StatusCode::FORBIDDEN, what));
        }
        if let Some(token) = &self.client_token
            && !client_token::take(&mut head, token)
            && !self.brings_own_key(&head)
        {
            let mut response = self.error(
                StatusCode::UNAUTHORIZED,
                "this gateway requires its client token, or your own key",
            );
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return Ok(response);
        }
        if self.brings_own_key(&head) {
            self.byok.add(&head.headers);
        }
        let summary = RequestSummary::new(&head.method, &head.uri);
        let Some(target) = self.upstream.target(&head.uri) else {
            return Ok(self.error(StatusCode::BAD_REQUEST, "the request's target is too long"));
        };
        head.uri = target;
        // The upstream's protocol does not depend on the client's.
        head.version = Version::HTTP_11;
        let client = upgrade::take_client(&mut head);
        let place = head.extensions.remove::<Place>();
        // `clear` would keep a map, which is cloned for each attempt.
        head.extensions = Extensions::new();
        headers::clean_request(&mut head.headers);
        let mut service = &self.service;
        if client.is_some() {
            upgrade::add_upgrade_headers(&mut head.headers);
            service = &self.http1;
        }
        let is_unsized = !body.is_end_stream() && body.size_hint().exact().is_none();
        if is_unsized && self.policy.name() != "grpc" {
            // Without it, the HTTP client drops the body of a GET over HTTP/1.1.
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
        }

        let request = Request::from_parts(head, body);
        match service.clone().oneshot(request).await {
            Ok(mut response) => {
                *response.version_mut() = Version::HTTP_11;
                headers::clean_response(response.headers_mut());
                self.report(&summary, &mut response);
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let Some(client) = client else {
                        let what = "the upstream switched protocols without a request";
                        return Ok(self.error(StatusCode::BAD_GATEWAY, what));
                    };
                    upgrade::add_upgrade_headers(response.headers_mut());
                    let upstream = hyper::upgrade::on(&mut response);
                    self.tunnels.join(client, upstream, place);
                }
                Ok(response.map(Either::Left))
            }
            Err(error) => {
                let (status, what) = match &error {
                    UpstreamError::TimedOut => (
                        StatusCode::GATEWAY_TIMEOUT,
                        "the upstream did not respond in time",
                    ),
                    UpstreamError::Client(error) if error.is_connect() => {
                        (StatusCode::BAD_GATEWAY, "the upstream cannot be reached")
                    }
                    UpstreamError::Client(_) => {
                        (StatusCode::BAD_GATEWAY, "the upstream failed to respond")
                    }
                };
                warn!(target: "gateway", "{what}: {}", with_causes(&error));
                Ok(self.error(status, what))
            }
        }
    }

    /// Records a failover for the operator, and reports attempts to the client if configured.
    fn report(&self, request: &RequestSummary, response: &mut Response<ResponseBody<Incoming>>) {
        if let Some(info) = response.extensions().get::<FailoverInfo>() {
            self.failovers.add(request, response.status(), info);
        }
        if self.expose_failover
            && let Some(info) = response.body().failover().cloned()
        {
            timing::append(&info, response.headers_mut());
        }
    }

    fn brings_own_key(&self, head: &request::Parts) -> bool {
        // Copilot's policy treats every request as BYOK.
        self.policy.is_byok(head)
            && (self.policy.name() != "copilot" || head.headers.contains_key(AUTHORIZATION))
    }

    fn error(&self, status: StatusCode, message: &'static str) -> ProxyResponse {
        local_response::error(self.policy.name(), status, message).map(Either::Right)
    }
}

pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
