//! A service that says which key it was called with, and a client of it with the layer in between.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::uri::PathAndQuery;
use http::{request, response};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::server::{self, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Layer, Service};
use tower_http::map_request_body::{MapRequestBody, MapRequestBodyLayer};
use tower_key_failover::policy::{BodyEvidence, Scope, Success};
use tower_key_failover::pool::{Exhausted, Key, KeyState};
use tower_key_failover::{
    KeyFailover, KeyFailoverLayer, KeyPool, Mark, ProviderPolicy, RequestBody, Verdict,
};

use crate::messages::{Say, say};

/// Keys in `x-key`. A key is refused by a status of HTTP's or, in an response without messages, by
/// one of gRPC's.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl ProviderPolicy for Plain {
    fn is_byok(&self, _: &request::Parts) -> bool {
        false
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        request.headers.insert("x-key", key.header_value());
    }

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        let status = response.headers.get("grpc-status");
        match (response.status.as_u16(), status.map(|it| it.as_bytes())) {
            (401, _) | (_, Some(b"16")) => Verdict::Failover(Mark::permanent()),
            (429, _) | (_, Some(b"8")) => Verdict::Failover(Mark::temporary(None)),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> Verdict {
        Verdict::Forward
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> http::Response<Bytes> {
        Status::resource_exhausted(exhausted.to_string()).into_http()
    }
}

/// What the server does with the key `k0`.
#[derive(Clone, Copy, Debug)]
pub enum Refuses {
    Nothing,
    /// It responses with this status, and no gRPC.
    ByHttp(u16),
    /// It responses that the call is not authenticated, once it has got so many messages.
    ByGrpc {
        after: usize,
    },
}

#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    refused: Arc<Notify>,
}

impl Server {
    pub async fn start(refuses: Refuses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refused = Arc::new(Notify::new());
        let talk = Talk {
            refuses,
            refused: Arc::clone(&refused),
        };
        let server = tonic::transport::Server::builder().add_service(talk);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { address, refused }
    }

    /// When a call has been refused by gRPC.
    pub async fn refused(&self) {
        self.refused.notified().await;
    }

    pub fn client<const N: usize>(&self, keys: [&'static str; N]) -> Client {
        let pool = Arc::new(KeyPool::new(keys).unwrap());
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let to_tonic = Body::new as fn(RequestBody<Body>) -> Body;
        let channel = MapRequestBodyLayer::new(to_tonic).layer(endpoint.connect_lazy());
        let service = KeyFailoverLayer::new(Plain, Arc::clone(&pool)).layer(channel);
        Client {
            pool,
            grpc: Grpc::new(service),
        }
    }
}

type Inner = MapRequestBody<Channel, fn(RequestBody<Body>) -> Body>;
type Codec = ProstCodec<Say, Say>;

#[derive(Debug)]
pub struct Client {
    pool: Arc<KeyPool>,
    grpc: Grpc<KeyFailover<Inner, Plain>>,
}

impl Client {
    pub fn states(&self) -> Vec<KeyState> {
        self.pool.states()
    }

    pub async fn unary(&mut self, text: &str) -> Result<String, Status> {
        self.grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Unary");
        let request = Request::new(say(text));
        let response = self.grpc.unary(request, path, Codec::default()).await?;
        Ok(response.into_inner().text)
    }

    pub async fn upload(
        &mut self,
        messages: impl Stream<Item = Say> + Send + 'static,
    ) -> Result<String, Status> {
        self.grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Upload");
        let request = Request::new(messages);
        let response = self.grpc.client_streaming(request, path, Codec::default());
        Ok(response.await?.into_inner().text)
    }

    pub async fn chat(
        &mut self,
        messages: impl Stream<Item = Say> + Send + 'static,
    ) -> Result<Streaming<Say>, Status> {
        self.grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/talk.Talk/Chat");
        let request = Request::new(messages);
        let response = self.grpc.streaming(request, path, Codec::default());
        Ok(response.await?.into_inner())
    }
}

#[derive(Clone, Debug)]
struct Talk {
    refuses: Refuses,
    refused: Arc<Notify>,
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
        let key = request.headers()["x-key"].to_str().unwrap().to_owned();
        let refuses = match &key[..] {
            "k0" => self.refuses,
            _ => Refuses::Nothing,
        };
        let call = Call {
            key,
            refuses,
            refused: Arc::clone(&self.refused),
        };
        Box::pin(async move {
            if let Refuses::ByHttp(status) = refuses {
                let response = http::Response::builder().status(status);
                return Ok(response.body(Body::empty()).unwrap());
            }
            let mut grpc = server::Grpc::new(Codec::default());
            Ok(match request.uri().path() {
                "/talk.Talk/Unary" => grpc.unary(call, request).await,
                "/talk.Talk/Upload" => grpc.client_streaming(call, request).await,
                "/talk.Talk/Chat" => grpc.streaming(call, request).await,
                path => panic!("{path} is not served"),
            })
        })
    }
}

/// One call. Its responses begin with its key.
#[derive(Clone)]
struct Call {
    key: String,
    refuses: Refuses,
    refused: Arc<Notify>,
}

impl Call {
    /// Whether so many messages are enough to be refused.
    fn refuse(&self, messages: usize) -> Result<(), Status> {
        match self.refuses {
            Refuses::ByGrpc { after } if after == messages => {
                self.refused.notify_one();
                Err(Status::unauthenticated("this key is revoked"))
            }
            _ => Ok(()),
        }
    }

    fn response(&self, text: &str) -> Say {
        say(format!("{}: {text}", self.key))
    }
}

type Reply<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl server::UnaryService<Say> for Call {
    type Response = Say;
    type Future = Reply<Say>;

    fn call(&mut self, request: Request<Say>) -> Self::Future {
        let response = self.response(&request.get_ref().text);
        let response = self.refuse(1).map(|()| Response::new(response));
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
            while let Some(message) = messages.message().await? {
                heard.push(message.text);
                call.refuse(heard.len())?;
            }
            Ok(Response::new(call.response(&heard.join(", "))))
        })
    }
}

impl server::StreamingService<Say> for Call {
    type Response = Say;
    type ResponseStream = BoxStream<'static, Result<Say, Status>>;
    type Future = Reply<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<Say>>) -> Self::Future {
        let call = self.clone();
        Box::pin(async move {
            let mut messages = request.into_inner();
            let first = messages.message().await?.expect("nothing was said");
            call.refuse(1)?;
            let messages = stream::iter([Ok(first)]).chain(messages);
            let responses = messages.map_ok(move |message| call.response(&message.text));
            Ok(Response::new(responses.boxed()))
        })
    }
}
