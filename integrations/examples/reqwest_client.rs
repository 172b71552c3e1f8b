//! reqwest with several keys.
//!
//! [`Reqwest`] adapts reqwest to the types of the `http` crate. Bodies stream in both directions, with
//! their trailers.
//!
//! ```sh
//! cargo run -p tower-key-failover-integrations --example reqwest_client
//! ```
//!
//! The provider listens on loopback.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::{BoxError, KeyFailoverLayer, KeyPool};

/// A reqwest client as a service for the types of the `http` crate.
///
/// reqwest requires `Sync` bodies. `RequestBody<B>` is `Sync` if `B` is. Requests that reqwest cannot
/// send, for example without a host, are errors.
#[derive(Clone, Debug)]
pub(crate) struct Reqwest(pub(crate) reqwest::Client);

impl<B> Service<Request<B>> for Reqwest
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, reqwest::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap));
        let sent = request.map(|request| self.0.call(request));
        Box::pin(async move { Ok(sent?.await?.into()) })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let provider = serve(Router::new().fallback(reply)).await?;

    // Do not follow redirects: reqwest would send the key headers of most providers to another host.
    // The provider is on loopback, so use no proxy.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let pool = KeyPool::new(["sk-first", "sk-second"])?;
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::openai(), pool))
        .service(Reqwest(client));

    let request = Request::post(format!("http://{provider}/v1/responses"));
    let request = request.body(Full::from("a question"))?;
    let response = service.oneshot(request).await?;

    assert_eq!(response.status(), StatusCode::OK);
    let attempts = response.body().failover().map(|info| info.attempts());
    assert_eq!(attempts, Some(2));
    let reply = response.into_body().collect().await?.to_bytes();
    assert_eq!(reply, "reply to: a question");
    println!("response to the second key: {reply:?}");
    Ok(())
}

/// A provider that accepts one of the keys.
async fn reply(headers: HeaderMap, question: String) -> (StatusCode, String) {
    match headers["authorization"].to_str() {
        Ok("Bearer sk-second") => (StatusCode::OK, format!("reply to: {question}")),
        _ => (StatusCode::UNAUTHORIZED, String::new()),
    }
}

async fn serve(router: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
