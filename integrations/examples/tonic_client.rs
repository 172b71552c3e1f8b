//! A tonic client with three keys: one is revoked, one is rate-limited, one is good.
//!
//! Client and server run on loopback. The client is written like tonic's generated clients. Pass the
//! service from `connect` to the `new` function of a generated client instead of a channel.
//!
//! ```text
//! cargo run -p tower-key-failover-integrations --example tonic_client
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Ready, ready};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::server::{self, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, client};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceBuilder};
use tower_http::map_request_body::{MapRequestBody, MapRequestBodyLayer};
use tower_key_failover::policy::Grpc;
use tower_key_failover::{BoxError, KeyFailover, KeyFailoverLayer, KeyPool, RequestBody};

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

type ToTonic = fn(RequestBody<Body>) -> Body;
type Greeter = client::Grpc<KeyFailover<MapRequestBody<Channel, ToTonic>, Grpc>>;

/// A client with a pool of keys.
fn connect(endpoint: &Endpoint, pool: &Arc<KeyPool>) -> Greeter {
    client::Grpc::new(
        ServiceBuilder::new()
            .layer(KeyFailoverLayer::new(Grpc::new(), Arc::clone(pool)))
            // tonic's channel requires tonic's body type.
            .layer(MapRequestBodyLayer::new(Body::new as ToTonic))
            .service(endpoint.connect_lazy()),
    )
}

async fn greet(greeter: &mut Greeter, name: &str) -> Result<String, Status> {
    let not_ready = |error| Status::unavailable(format!("{error}"));
    greeter.ready().await.map_err(not_ready)?;
    let request = Request::new(Text {
        text: name.to_owned(),
    });
    let path = PathAndQuery::from_static("/greet.Greeter/Greet");
    let codec = ProstCodec::<Text, Text>::default();
    let response = greeter.unary(request, path, codec).await?;
    Ok(response.into_inner().text)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr()?))?;
    let server = tonic::transport::Server::builder().add_service(Greetings);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let pool = Arc::new(KeyPool::new(["revoked-key", "limited-key", "good-key"])?);
    let mut greeter = connect(&endpoint, &pool);
    let greeting = greet(&mut greeter, "World").await?;
    println!("{greeting}");
    assert_eq!(greeting, "Hello, World!");
    for (at, state) in pool.states().iter().enumerate() {
        println!("  key {at}: {state:?}");
    }

    // If no key is left, the status tells the caller when to retry.
    let pool = Arc::new(KeyPool::new(["limited-key"])?);
    let mut greeter = connect(&endpoint, &pool);
    let status = greet(&mut greeter, "World")
        .await
        .expect_err("no key is left");
    println!("{:?}: {}", status.code(), status.message());
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    Ok(())
}

/// The service, which checks keys.
#[derive(Clone, Copy, Debug)]
struct Greetings;

impl UnaryService<Text> for Greetings {
    type Response = Text;
    type Future = Ready<Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let key = request.metadata().get("authorization");
        let key = key.and_then(|value| value.to_str().ok());
        ready(match key {
            Some("Bearer good-key") => Ok(Response::new(Text {
                text: format!("Hello, {}!", request.get_ref().text),
            })),
            Some("Bearer limited-key") => {
                let mut status = Status::resource_exhausted("slow down");
                let pushback = MetadataValue::from_static("30000");
                let metadata = status.metadata_mut();
                metadata.insert("grpc-retry-pushback-ms", pushback);
                Err(status)
            }
            _ => Err(Status::unauthenticated("this key is revoked")),
        })
    }
}

// Written like tonic's generated servers.
impl NamedService for Greetings {
    const NAME: &'static str = "greet.Greeter";
}

impl Service<http::Request<Body>> for Greetings {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = server::Grpc::new(ProstCodec::<Text, Text>::default());
        Box::pin(async move { Ok(grpc.unary(Greetings, request).await) })
    }
}
