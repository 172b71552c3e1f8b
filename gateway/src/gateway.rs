//! Handles one request: checks it, finds its route, sets its target and calls the layer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::http::header::{TRANSFER_ENCODING, WWW_AUTHENTICATE};
use axum::http::{
    Extensions, HeaderValue, Method, Request, Response, StatusCode, Version, request,
};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use secrecy::SecretString;
use tower::ServiceExt;
use tower_key_failover::model_scope;
use tower_key_failover::policy::ProviderPolicy;
use tower_key_failover::{FailoverInfo, ReplayBudget, ResponseBody};

use crate::byok::ByokRequests;
use crate::client_body::ClientBody;
use crate::config::{Config, RouteConfig};
use crate::connections::Place;
use crate::failovers::{Failovers, RequestSummary};
use crate::route::{Route, Shared};
use crate::routes::{Changes, Routes};
use crate::upgrade::{self, Tunnels};
use crate::upstream_client::UpstreamError;
use crate::{client_token, headers, local_response, model_limit, origin, target, timing};

/// The status and the message of a response of the gateway itself.
type LocalError = (StatusCode, &'static str);

/// The streamed response of the upstream, or the gateway's own.
type ProxyResponse = Response<Either<ResponseBody<Incoming>, Full<Bytes>>>;

pub struct Gateway {
    routes: ArcSwap<Routes>,
    shared: Shared,
    pub tunnels: Tunnels,
    client_token: Option<Arc<SecretString>>,
    is_local_only: bool,
    idle_timeout: Option<Duration>,
    pub byok: ByokRequests,
    pub failovers: Failovers,
    expose_failover: bool,
}

impl Gateway {
    pub fn new(config: &mut Config) -> Self {
        let settings = &config.settings;
        let shared = Shared {
            replay_budget: settings.replay_budget.map(ReplayBudget::new),
            needs_timings: settings.expose_failover || settings.admin.is_some(),
        };
        let routes = Routes::new(std::mem::take(&mut config.routes), &shared);
        Self {
            routes: ArcSwap::from_pointee(routes),
            shared,
            tunnels: Tunnels::default(),
            client_token: config.client_token.clone().map(Arc::new),
            is_local_only: config.is_local_only(),
            idle_timeout: config.settings.idle_timeout.unless_zero(),
            byok: ByokRequests::default(),
            failovers: Failovers::default(),
            expose_failover: config.settings.expose_failover,
        }
    }

    /// The routes that new requests use.
    pub fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// Replaces the routes for new requests. Not called concurrently.
    pub fn replace_routes(&self, configs: Vec<RouteConfig>) -> Changes {
        let (routes, changes) = self.routes.load().replaced(configs, &self.shared);
        self.routes.store(Arc::new(routes));
        changes
    }

    pub async fn forward(&self, request: Request<Incoming>) -> Result<ProxyResponse, Infallible> {
        let (mut head, body) = request.into_parts();
        let body = ClientBody::new(body, self.client_token.as_ref());
        let route = match self.route(&mut head) {
            Ok(route) => route,
            Err((status, what)) => {
                let provider = self.routes.load().only_provider().unwrap_or_default();
                return Ok(local_response::error(provider, status, what).map(Either::Right));
            }
        };
        let is_allowed = match &self.client_token {
            Some(token) => client_token::take(&mut head, token),
            None => true,
        };
        let is_byok = route.is_byok(&head);
        if !is_allowed && !is_byok {
            let what = "this gateway requires its client token, or your own key";
            let mut response = error(&route, StatusCode::UNAUTHORIZED, what);
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return Ok(response);
        }
        if self.is_local_only && !is_byok && origin::is_cross_origin(&head.uri, &head.headers) {
            let what = "without a client token, pages of other origins cannot use the keys";
            return Ok(error(&route, StatusCode::FORBIDDEN, what));
        }
        if is_byok {
            self.byok.add(&head, &route.policy);
        }
        let summary = RequestSummary::new(&head.method, &head.uri);
        let target = route.upstream.target(&head.uri, route.matcher.skipped());
        let Some(target) = target else {
            let what = "the request's target is too long";
            return Ok(error(&route, StatusCode::BAD_REQUEST, what));
        };
        head.uri = target;
        // The upstream's protocol does not depend on the client's.
        head.version = Version::HTTP_11;
        let client = upgrade::take_client(&mut head);
        let place = head.extensions.remove::<Place>();
        // `clear` would keep a map, which is cloned for each attempt.
        head.extensions = Extensions::new();
        headers::clean_request(&mut head.headers, route.upstream.host());
        let mut service = &route.service;
        if client.is_some() {
            upgrade::add_upgrade_headers(&mut head.headers);
            service = &route.http1;
        }
        let is_unsized = !body.is_end_stream() && body.size_hint().exact().is_none();
        if is_unsized && route.provider() != "grpc" {
            // Without it, the HTTP client drops the body of a GET over HTTP/1.1.
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
        }

        if let Some(choice) = route.choice(&head.headers) {
            head.extensions.insert(choice);
        }
        let reads_model = route.reads_model && !is_byok && route.policy.scope(&head).is_none();
        let request = Request::from_parts(head, body);
        let responded = match reads_model {
            true => match model_limit::call(service, request, self.idle_timeout).await {
                Some(responded) => responded,
                None => {
                    let what = "the request's body did not arrive in time";
                    return Ok(error(&route, StatusCode::REQUEST_TIMEOUT, what));
                }
            },
            false => {
                let request = request.map(model_scope::RequestBody::unread);
                service.clone().oneshot(request).await
            }
        };
        match responded {
            Ok(mut response) => {
                route.outage.responded(&route.name);
                *response.version_mut() = Version::HTTP_11;
                headers::clean_response(response.headers_mut());
                self.report(&route, &summary, &mut response);
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let Some(client) = client else {
                        let what = "the upstream switched protocols without a request";
                        return Ok(error(&route, StatusCode::BAD_GATEWAY, what));
                    };
                    upgrade::add_upgrade_headers(response.headers_mut());
                    let upstream = hyper::upgrade::on(&mut response);
                    self.tunnels.join(client, upstream, place);
                }
                Ok(response.map(Either::Left))
            }
            Err(failed) => {
                let (status, what) = match &failed {
                    UpstreamError::TimedOut => (
                        StatusCode::GATEWAY_TIMEOUT,
                        "the upstream did not respond in time",
                    ),
                    UpstreamError::Connect(_) => {
                        (StatusCode::BAD_GATEWAY, "the upstream cannot be reached")
                    }
                    UpstreamError::Request(cause) if cause.is_user() => {
                        let what = "the request's body is incomplete";
                        return Ok(error(&route, StatusCode::BAD_REQUEST, what));
                    }
                    UpstreamError::Request(_) => {
                        (StatusCode::BAD_GATEWAY, "the upstream failed to respond")
                    }
                };
                route
                    .outage
                    .failed(&route.name, what, &with_causes(&failed));
                Ok(error(&route, status, what))
            }
        }
    }

    /// Normalizes the target, and finds the route. Otherwise, returns the error for the client.
    fn route(&self, head: &mut request::Parts) -> Result<Arc<Route>, LocalError> {
        if head.method == Method::TRACE {
            let what = "TRACE is not supported: its response would contain the key";
            return Err((StatusCode::BAD_REQUEST, what));
        }
        if let Err(what) = target::normalize(&mut head.uri) {
            return Err((StatusCode::BAD_REQUEST, what));
        }
        if self.is_local_only && !origin::has_local_host(&head.uri, &head.headers) {
            let what = "without a client token, the host must be localhost or a loopback address";
            return Err((StatusCode::MISDIRECTED_REQUEST, what));
        }
        let routes = self.routes.load();
        let route = routes.find(head).map(Arc::clone);
        let what = "no route of this gateway has the host and the path of the request";
        route.ok_or((StatusCode::NOT_FOUND, what))
    }

    /// Records a failover for the operator, and reports attempts to the client if configured.
    fn report(
        &self,
        route: &Route,
        request: &RequestSummary,
        response: &mut Response<ResponseBody<Incoming>>,
    ) {
        if let Some(info) = response.extensions().get::<FailoverInfo>() {
            let status = response.status();
            self.failovers.add(&route.name, request, status, info);
        }
        if self.expose_failover
            && let Some(info) = response.body().failover().cloned()
        {
            timing::append(&info, response.headers_mut());
        }
    }
}

fn error(route: &Route, status: StatusCode, message: &'static str) -> ProxyResponse {
    local_response::error(route.provider(), status, message).map(Either::Right)
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
