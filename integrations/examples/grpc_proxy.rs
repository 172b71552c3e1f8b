//! A gRPC proxy that holds several keys for a service and continues with the next key when one is
//! refused.
//!
//! It streams all kinds of calls in both directions, with metadata and trailers. It uses HTTP/2
//! without TLS on both sides. Calls with their own `authorization` are forwarded unchanged.
//!
//! ```text
//! GRPC_KEYS=first-key,second-key \
//! cargo run -p tower-key-failover-integrations --example grpc_proxy -- http://127.0.0.1:50051 127.0.0.1:8080
//! ```
//!
//! Without the second address, it listens on a free port and prints it. If all methods of the service
//! are unary, `GRPC_WAIT_MS` sets how long to wait for a refusal in trailers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::policy::Grpc;
use tower_key_failover::{
    BoxError, KeyFailover, KeyFailoverLayer, KeyPool, RequestBody, ResponseBody,
};

type Upstream = KeyFailover<Client<HttpConnector, RequestBody<Incoming>>, Grpc>;
type ProxyResponse = Response<Either<ResponseBody<Incoming>, Empty<Bytes>>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let target: Uri = arguments
        .next()
        .ok_or("missing argument: the address of the service")?
        .parse()?;
    let listen = arguments.next().unwrap_or("127.0.0.1:0".to_owned());
    let keys = std::env::var("GRPC_KEYS").map_err(|_| "no keys in GRPC_KEYS")?;
    let pool = KeyPool::new(keys.split(','))?;

    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let wait = match std::env::var("GRPC_WAIT_MS") {
        Ok(millis) => Duration::from_millis(millis.parse()?),
        Err(_) => Duration::ZERO,
    };
    let policy = Grpc::new().wait_for_first_frame(wait);
    let upstream = KeyFailoverLayer::new(policy, pool).layer(client);
    let proxy = service_fn(move |request| forward(upstream.clone(), target.clone(), request));

    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let proxy = TowerToHyperService::new(proxy.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new()).http2_only();
            let serving = server.serve_connection(TokioIo::new(stream), proxy);
            if let Err(error) = serving.await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}

/// Sends the call to the service.
async fn forward(
    mut upstream: Upstream,
    target: Uri,
    mut request: Request<Incoming>,
) -> Result<ProxyResponse, Infallible> {
    let mut parts = target.into_parts();
    parts.path_and_query = request.uri().path_and_query().cloned();
    let Ok(uri) = Uri::from_parts(parts) else {
        return Ok(failure("3", "the call has no path"));
    };
    *request.uri_mut() = uri;
    let response = async { upstream.ready().await?.call(request).await };
    Ok(match response.await {
        Ok(response) => response.map(Either::Left),
        Err(error) => {
            eprintln!("the service cannot be reached: {error}");
            failure("14", "the service cannot be reached")
        }
    })
}

/// A response that consists of a gRPC status.
fn failure(status: &'static str, message: &'static str) -> ProxyResponse {
    let mut response = Response::new(Either::Right(Empty::new()));
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("grpc-status", status),
        ("grpc-message", message),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
