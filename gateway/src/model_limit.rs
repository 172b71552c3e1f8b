//! Limits how long a client may take to send the part of a body that names the model.
//!
//! The layer is called only after that, so no other limit applies to it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response};
use futures_util::future::{Either, select};
use futures_util::poll;
use hyper::body::Incoming;
use tokio::time::sleep;
use tower::{Service, ServiceExt};
use tower_key_failover::model_scope::{self, ModelScope};
use tower_key_failover::{KeyFailover, ResponseBody};

use crate::client_body::ClientBody;
use crate::policy::Policy;
use crate::upstream_client::{UpstreamClient, UpstreamError};

type Layer = KeyFailover<UpstreamClient, Policy>;
type Responded = Result<Response<ResponseBody<Incoming>>, UpstreamError>;

/// Calls the layer when the model is known. `None` if that takes too long.
pub async fn call(
    layer: &Layer,
    request: Request<ClientBody>,
    limit: Option<Duration>,
) -> Option<Responded> {
    let is_called = AtomicBool::new(false);
    let noted = Noted {
        layer: layer.clone(),
        is_called: &is_called,
    };
    let mut responded = pin!(ModelScope::new(noted).oneshot(request));
    // Most bodies arrive with their heads, and need no timer.
    if let Poll::Ready(responded) = poll!(responded.as_mut()) {
        return Some(responded);
    }
    if let (Some(limit), false) = (limit, is_called.load(Ordering::Relaxed)) {
        match select(responded.as_mut(), pin!(sleep(limit))).await {
            Either::Left((responded, _)) => return Some(responded),
            Either::Right(_) if !is_called.load(Ordering::Relaxed) => return None,
            Either::Right(_) => {}
        }
    }
    Some(responded.await)
}

/// The layer, and whether it has been called.
#[derive(Clone)]
struct Noted<'a> {
    layer: Layer,
    is_called: &'a AtomicBool,
}

impl Service<Request<model_scope::RequestBody<ClientBody>>> for Noted<'_> {
    type Response = <Layer as Service<Request<model_scope::RequestBody<ClientBody>>>>::Response;
    type Error = UpstreamError;
    type Future = <Layer as Service<Request<model_scope::RequestBody<ClientBody>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        self.layer.poll_ready(cx)
    }

    fn call(&mut self, request: Request<model_scope::RequestBody<ClientBody>>) -> Self::Future {
        self.is_called.store(true, Ordering::Relaxed);
        self.layer.call(request)
    }
}
