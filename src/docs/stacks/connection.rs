use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use tower::{BoxError, Service, ServiceBuilder};
use tower_key_failover::{
    KeyFailover, KeyFailoverLayer, ProviderPolicy, RequestBody, ResponseBody,
};

/// One connection, as `hyper::client::conn` opens it.
#[derive(Clone, Debug)]
pub struct Connection<S>(pub S);

type Sending = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

impl<B> Service<Request<B>> for Connection<http2::SendRequest<B>>
where
    B: Body + Send + 'static,
{
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Sending;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Sending {
        Box::pin(self.0.send_request(request))
    }
}

/// HTTP/2: many requests at a time.
pub fn over_http2<P, B>(
    failover: KeyFailoverLayer<P>,
    sender: http2::SendRequest<RequestBody<B>>,
) -> KeyFailover<Connection<http2::SendRequest<RequestBody<B>>>, P> {
    ServiceBuilder::new()
        .layer(failover)
        .service(Connection(sender))
}

impl<B> Service<Request<B>> for Connection<http1::SendRequest<B>>
where
    B: Body + Send + 'static,
{
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Sending;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Sending {
        Box::pin(self.0.send_request(request))
    }
}

/// HTTP/1.1: one request at a time. Its sender is not `Clone`, so it needs a buffer.
pub fn over_http1<P: ProviderPolicy>(
    failover: KeyFailoverLayer<P>,
    sender: http1::SendRequest<RequestBody<Full<Bytes>>>,
) -> impl Service<Request<Full<Bytes>>, Response = Response<ResponseBody<Incoming>>, Error = BoxError>
{
    ServiceBuilder::new()
        .layer(failover)
        .buffer(1)
        .service(Connection(sender))
}
