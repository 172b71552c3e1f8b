//! A service that refuses keys by their names, and a client of it with the layer in between.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::client::Grpc as Caller;
use tonic::metadata::MetadataValue;
use tonic::server::{self, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;
use tower_http::map_request_body::MapRequestBody;
use tower_key_failover::policy::Grpc;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailover, KeyFailoverLayer, KeyPool, RequestBody};

use crate::messages::{Say, say};

/// The recipe of the guide `stacks`.
#[path = "../../../../src/docs/stacks/tonic.rs"]
mod recipe;

/// What the service does with a key of this name. Any other key is good.
fn refusal(key: &str) -> Option<Status> {
    match key.split('-').next().unwrap() {
        "revoked" => Some(Status::unauthenticated("this key is revoked")),
        "denied" => Some(Status::permission_denied("not with this key")),
        "limited" => {
            let mut status = Status::resource_exhausted("too much");
            let pushback = MetadataValue::from_static("5000");
            let metadata = status.metadata_mut();
            metadata.insert("grpc-retry-pushback-ms", pushback);
            Some(status)
        }
        "busy" => Some(Status::unavailable("overloaded")),
        _ => None,
    }
}

/// Whether the service refuses a key only after a head, in trailers.
fn refuses_late(key: &str) -> bool {
    key.ends_with("-late")
}

/// Whether the service refuses a key only after it has heard the first message.
fn refuses_after_one(key: &str) -> bool {
    key.ends_with("-after")
}

#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::default();
        let talk = Talk {
            asked: Arc::clone(&asked),
        };
        let server = tonic::transport::Server::builder().add_service(talk);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, asked }
    }

    /// The keys that calls came with.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn client<const N: usize>(&self, keys: [&'static str; N]) -> Client {
        self.client_with(Grpc::new(), keys)
    }

    pub fn client_with<const N: usize>(&self, policy: Grpc, keys: [&'static str; N]) -> Client {
        let pool = Arc::new(KeyPool::new(keys).unwrap());
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let layer = KeyFailoverLayer::new(policy, Arc::clone(&pool));
        let service = recipe::channel_with_keys(layer, endpoint.connect_lazy());
        Client {
            pool,
            caller: Caller::new(service),
        }
    }
}

pub type Inner = MapRequestBody<Channel, fn(RequestBody<Body>) -> Body>;
type Codec = ProstCodec<Say, Say>;

#[derive(Debug)]
pub struct Client {
    pool: Arc<KeyPool>,
    caller: Caller<KeyFailover<Inner, Grpc>>,
}

impl Client {
    pub fn states(&self) -> Vec<KeyState> {
        self.pool.states()
    }

    pub async fn unary(&mut self, request: Request<Say>) -> Result<String, Status> {
        Ok(self.unary_with_metadata(request).await?.into_inner().text)
    }

    pub async fn unary_with_metadata(
        &mut self,
        request: Request<Say>,
    ) -> Result<Response<Say>, Status> {
        self.caller.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Unary");
        self.caller.unary(request, path, Codec::default()).await
    }

    pub async fn upload(
        &mut self,
        messages: impl Stream<Item = Say> + Send + 'static,
    ) -> Result<String, Status> {
        self.caller.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Upload");
        let request = Request::new(messages);
        let response = self
            .caller
            .client_streaming(request, path, Codec::default());
        Ok(response.await?.into_inner().text)
    }

    pub async fn watch(&mut self, text: &str) -> Result<Streaming<Say>, Status> {
        self.caller.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Watch");
        let request = Request::new(say(text));
        let response = self
            .caller
            .server_streaming(request, path, Codec::default());
        Ok(response.await?.into_inner())
    }

    pub async fn chat(
        &mut self,
        messages: impl Stream<Item = Say> + Send + 'static,
    ) -> Result<Streaming<Say>, Status> {
        self.caller.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Chat");
        let request = Request::new(messages);
        let response = self.caller.streaming(request, path, Codec::default());
        Ok(response.await?.into_inner())
    }
}

#[derive(Clone, Debug)]
struct Talk {
    asked: Arc<Mutex<Vec<String>>>,
}

impl NamedService for Talk {
    const NAME: &'static str = "talk.Talk";
}

impl Service<http::Request<Body>> for Talk {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let values = request.headers().get_all("authorization");
        let values: Vec<_> = values.iter().map(|it| it.to_str().unwrap()).collect();
        let key = values.concat().strip_prefix("Bearer ").unwrap().to_owned();
        self.asked.lock().unwrap().push(key.clone());
        let call = Call { key };
        if let Some(status) = call.key.strip_prefix("http-") {
            let response = http::Response::builder().status(status);
            let response = response.body(Body::empty()).unwrap();
            return Box::pin(std::future::ready(Ok(response)));
        }
        Box::pin(async move {
            let mut grpc = server::Grpc::new(Codec::default());
            Ok(match request.uri().path() {
                "/talk.Talk/Unary" => grpc.unary(call, request).await,
                "/talk.Talk/Upload" => grpc.client_streaming(call, request).await,
                "/talk.Talk/Watch" => grpc.server_streaming(call, request).await,
                "/talk.Talk/Chat" => grpc.streaming(call, request).await,
                path => panic!("{path} is not served"),
            })
        })
    }
}

#[derive(Clone, Debug)]
struct Call {
    key: String,
}

impl Call {
    fn check(&self) -> Result<(), Status> {
        refusal(&self.key).map_or(Ok(()), Err)
    }

    fn response(&self, text: &str) -> Say {
        say(format!("{}: {text}", self.key.to_uppercase()))
    }
}

type Messages = BoxStream<'static, Result<Say, Status>>;
type Reply<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl server::UnaryService<Say> for Call {
    type Response = Say;
    type Future = Reply<Say>;

    fn call(&mut self, request: Request<Say>) -> Self::Future {
        let mut response = Response::new(self.response(&request.get_ref().text));
        // What came is said again.
        let mut metadata = request.metadata().clone();
        metadata.remove("authorization");
        *response.metadata_mut() = metadata;
        let response = self.check().map(|()| response);
        Box::pin(std::future::ready(response))
    }
}

impl server::ClientStreamingService<Say> for Call {
    type Response = Say;
    type Future = Reply<Say>;

    fn call(&mut self, request: Request<Streaming<Say>>) -> Self::Future {
        let call = self.clone();
        Box::pin(async move {
            let mut messages = request.into_inner();
            let mut heard = Vec::new();
            if refuses_after_one(&call.key) {
                messages.message().await?;
            }
            call.check()?;
            while let Some(message) = messages.message().await? {
                heard.push(message.text);
            }
            Ok(Response::new(call.response(&heard.join(", "))))
        })
    }
}

impl server::ServerStreamingService<Say> for Call {
    type Response = Say;
    type ResponseStream = Messages;
    type Future = Reply<Messages>;

    fn call(&mut self, request: Request<Say>) -> Self::Future {
        let call = self.clone();
        Box::pin(async move {
            let checked = call.check();
            if refuses_late(&call.key) {
                let end = checked.unwrap_err();
                return Ok(Response::new(stream::iter([Err(end)]).boxed()));
            }
            checked?;
            let words = request.into_inner().text;
            let words: Vec<_> = words
                .split(' ')
                .map(|word| Ok(call.response(word)))
                .collect();
            Ok(Response::new(stream::iter(words).boxed()))
        })
    }
}

impl server::StreamingService<Say> for Call {
    type Response = Say;
    type ResponseStream = Messages;
    type Future = Reply<Messages>;

    fn call(&mut self, request: Request<Streaming<Say>>) -> Self::Future {
        let call = self.clone();
        Box::pin(async move {
            let mut messages = request.into_inner();
            if refuses_after_one(&call.key) {
                messages.message().await?;
            }
            call.check()?;
            let responses = messages.map_ok(move |message| call.response(&message.text));
            Ok(Response::new(responses.boxed()))
        })
    }
}
