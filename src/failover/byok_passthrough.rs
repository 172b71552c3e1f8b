//! Requests that pass untouched: those with a credential of their own ("bring your own key"), and all
//! requests to a layer without a pool.
//!
//! The layer sends such a request once and forwards its response unchanged. It injects, records and
//! marks nothing.

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use tower_service::Service;

use super::config::Config;
use super::future::ResponseFuture;
use super::request_body::RequestBody;
use crate::policy::ProviderPolicy;

/// Whether the request passes untouched: it has its own credential, or the layer has no pool.
#[inline]
pub(super) fn applies_to<P: ProviderPolicy>(config: &Config<P>, head: &request::Parts) -> bool {
    config.pool.is_none() || config.policy.is_byok(head)
}

#[inline]
pub(super) fn call<S, P, B, R>(
    inner: &mut S,
    head: request::Parts,
    body: B,
) -> ResponseFuture<S, P, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    P: ProviderPolicy,
    R: Body<Data = Bytes>,
{
    let body = RequestBody::untouched(body);
    ResponseFuture::untouched(inner.call(Request::from_parts(head, body)))
}
