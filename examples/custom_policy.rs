//! A policy for a provider that no built-in policy fits. It expects the key in the query, and reports a
//! refused key in the body of a 200.
//!
//! ```sh
//! cargo run --example custom_policy
//! ```
//!
//! The provider listens on loopback. The program panics if a step fails.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, request, response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::policy::{ReadLimit, Success};
use tower_key_failover::pool::ExhaustedKind;
use tower_key_failover::{
    BodyEvidence, BoxError, Exhausted, Key, KeyFailoverLayer, KeyPool, KeyState, Mark,
    ProviderPolicy, Verdict,
};

/// The policy for a provider with `?key=<key>`.
#[derive(Clone, Debug)]
struct QueryKey;

impl ProviderPolicy for QueryKey {
    /// A request with a `key` parameter brings its own key.
    fn is_byok(&self, request: &request::Parts) -> bool {
        parameters(&request.uri).any(is_key)
    }

    /// Replaces all `key` parameters.
    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        let others = parameters(&request.uri).filter(|parameter| !is_key(parameter));
        let own = format!("key={}", key.expose_secret());
        let query: Vec<_> = others.chain([own.as_str()]).collect();
        let target = format!("{}?{}", request.uri.path(), query.join("&"));
        let mut uri = request.uri.clone().into_parts();
        // A key that is not legal in a query makes the request fail at the provider.
        if let Ok(target) = target.parse() {
            uri.path_and_query = Some(target);
        }
        if let Ok(uri) = Uri::from_parts(uri) {
            request.uri = uri;
        }
    }

    /// A 200 can contain an error, so its body has to be read.
    fn classify(&self, response: &response::Parts) -> Verdict {
        match response.status {
            StatusCode::OK => Verdict::Read(ReadLimit::refusal()),
            StatusCode::TOO_MANY_REQUESTS => Verdict::Failover(Mark::temporary(None)),
            // A 403 has no body that explains it. The request may be at fault.
            StatusCode::FORBIDDEN => Verdict::Failover(Mark::suspect()),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        match body {
            BodyEvidence::Complete { bytes, .. } => match *bytes {
                b"error: unknown key" => Verdict::Failover(Mark::permanent()),
                b"error: key is over its quota" => Verdict::Failover(Mark::temporary(None)),
                _ => Verdict::Forward,
            },
            // An incomplete body proves nothing.
            _ => Verdict::Forward,
        }
    }

    /// A 200 that is forwarded is a success, because [`classify_body`](Self::classify_body) has found
    /// no error in it.
    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    /// Not called, because [`success`](Self::success) never asks for the body.
    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    /// The response if no key is left, in the provider's own format.
    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(format!("error: {exhausted}")));
        *response.status_mut() = match exhausted.kind {
            ExhaustedKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_GATEWAY,
        };
        if let Some(wait) = exhausted.retry_after {
            let seconds = wait.as_secs_f64().ceil() as u64;
            response
                .headers_mut()
                .insert(http::header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn parameters(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().into_iter().flat_map(|query| query.split('&'))
}

fn is_key(parameter: &str) -> bool {
    parameter.starts_with("key=")
}

/// The provider. It accepts one of the keys.
async fn search(uri: Uri) -> &'static str {
    match parameters(&uri).any(|parameter| parameter == "key=valid-key-0123456789") {
        true => "42 results",
        false => "error: unknown key",
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let provider = serve(Router::new().route("/search", get(search))).await?;
    let pool = Arc::new(KeyPool::new([
        "unknown-key-01234567",
        "valid-key-0123456789",
    ])?);
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(QueryKey, Arc::clone(&pool)))
        .service(Client::builder(TokioExecutor::new()).build_http());

    let request =
        Request::get(format!("http://{provider}/search?q=tower")).body(Empty::<Bytes>::new())?;
    let response = service.oneshot(request).await?;
    let attempts = response.body().failover().map_or(1, |info| info.attempts());
    let text = response.into_body().collect().await?.to_bytes();
    println!(
        "attempt {attempts} succeeded: {}",
        String::from_utf8_lossy(&text)
    );
    assert_eq!((attempts, &*text), (2, &b"42 results"[..]));

    println!("the pool: {:?}", pool.states());
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
    Ok(())
}

async fn serve(router: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
