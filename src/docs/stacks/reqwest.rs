use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{Service, ServiceBuilder};
use tower_key_failover::{BoxError, KeyFailover, KeyFailoverLayer};

/// A reqwest client as a service for the types of the `http` crate. Bodies stream in both directions, with their
/// trailers.
#[derive(Clone, Debug)]
pub struct Reqwest(pub reqwest::Client);

impl<B> Service<Request<B>> for Reqwest
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = reqwest::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<reqwest::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap));
        let sent = request.map(|request| self.0.call(request));
        Box::pin(async move { Ok(sent?.await?.into()) })
    }
}

pub fn stack<P>(failover: KeyFailoverLayer<P>) -> reqwest::Result<KeyFailover<Reqwest, P>> {
    let client = reqwest::Client::builder()
        // reqwest would send the key to the host that a redirect names.
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(ServiceBuilder::new()
        .layer(failover)
        .service(Reqwest(client)))
}
