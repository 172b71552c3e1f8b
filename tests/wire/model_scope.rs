//! The layer that reads a request's model, between real peers.

use http::{HeaderMap, HeaderValue, Request};
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::policy::TestPolicy;
use test_support::wire::{
    Exchange, Fed, HttpClient, Protocol, Server, Whole, call, client, read_all,
};
use tower::{Layer, ServiceBuilder};
use tower_key_failover::model_scope::{ModelScope, ModelScopeLayer, RequestBody};
use tower_key_failover::pool::KeyChoice;
use tower_key_failover::{KeyFailover, KeyFailoverLayer};

const BODY: &str = r#"{"stream":true,"model":"gpt-4o","messages":["hello"]}"#;

type Stack = ModelScope<SaysScope<KeyFailover<HttpClient<RequestBody<Fed>>, TestPolicy>>>;

fn stack(layer: &KeyFailoverLayer<TestPolicy>, protocol: Protocol) -> Stack {
    ServiceBuilder::new()
        .layer(ModelScopeLayer::new())
        .layer_fn(|inner| SaysScope { inner })
        .layer(layer)
        .service(client(protocol))
}

/// Tells the server the scope of each request.
#[derive(Clone, Debug)]
struct SaysScope<S> {
    inner: S,
}

impl<S: tower::Service<Request<B>>, B> tower::Service<Request<B>> for SaysScope<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let scope = request
            .extensions()
            .get::<KeyChoice>()
            .and_then(KeyChoice::scope_ref);
        if let Some(scope) = scope {
            let scope = scope.as_str().parse().unwrap();
            request.headers_mut().insert("x-scope", scope);
        }
        self.inner.call(request)
    }
}

fn post(server: &Server, body: Fed) -> Request<Fed> {
    let mut request = server.post(body);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert("content-type", json);
    request
}

async fn check(exchange: &mut Exchange, expected: &Whole) {
    assert_eq!(exchange.head.headers["x-scope"], "gpt-4o");
    assert_eq!(&read_all(&mut exchange.body).await.unwrap(), expected);
}

on_both_protocols! {
    async fn each_attempt_has_the_scope_and_the_whole_body_in_whatever_frames_it_comes(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
        for size in [1, 2, 7, 20, BODY.len()] {
            let (feed, body) = Fed::of_unknown_length();
            for frame in BODY.as_bytes().chunks(size) {
                feed.send(frame);
            }
            feed.send_trailers(trailers.clone());
            drop(feed);
            let mut request = post(&server, body);
            request.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            let responded = call(&service, request);
            let expected = Whole { data: BODY.into(), trailers: Some(trailers.clone()) };
            let mut first = server.next().await;
            check(&mut first, &expected).await;
            first.respond_with(keep());
            let mut second = server.next().await;
            check(&mut second, &expected).await;
            second.respond(200);
            assert_eq!(responded.await.unwrap().unwrap().status(), 200);
        }
    }

    async fn a_body_that_was_read_keeps_its_length(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_length(BODY.len() as u64);
        for frame in BODY.as_bytes().chunks(9) {
            feed.send(frame);
        }
        let responded = call(&service, post(&server, body));
        let mut exchange = server.next().await;
        assert_eq!(exchange.head.headers["content-length"], BODY.len().to_string());
        check(&mut exchange, &Whole { data: BODY.into(), trailers: None }).await;
        exchange.respond(200);
        assert_eq!(responded.await.unwrap().unwrap().status(), 200);
    }

    async fn the_upload_goes_on_while_the_upstream_has_the_request(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_unknown_length();
        feed.send(r#"{"model":"gpt-4o","#);
        let responded = call(&service, post(&server, body));
        let mut exchange = server.next().await;
        assert_eq!(exchange.head.headers["x-scope"], "gpt-4o");
        assert_eq!(exchange.read(18).await, r#"{"model":"gpt-4o","#);
        feed.send(r#""messages":[]}"#);
        drop(feed);
        assert_eq!(read_all(&mut exchange.body).await.unwrap().data, r#""messages":[]}"#);
        exchange.respond(200);
        assert_eq!(responded.await.unwrap().unwrap().status(), 200);
    }

    async fn a_caller_that_leaves_before_its_model_is_known_reaches_no_upstream(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_unknown_length();
        feed.send(r#"{"messages":["#);
        let responded = call(&service, post(&server, body));
        responded.abort();
        assert!(responded.await.unwrap_err().is_cancelled());
        feed.abandoned().await;
        // The connection works, and no other request came over it.
        let responded = call(&service, post(&server, Fed::full(BODY)));
        server.next().await.respond(200);
        assert_eq!(responded.await.unwrap().unwrap().status(), 200);
        assert!(server.has_no_other());
    }

    async fn a_body_that_fails_before_its_model_is_known_fails_the_request(protocol: Protocol) {
        let server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_unknown_length();
        feed.send(r#"{"messages":["#);
        let responded = call(&service, post(&server, body));
        feed.fail();
        assert!(responded.await.unwrap().is_err());
    }
}

fn keep() -> http::Response<Fed> {
    let response = http::Response::builder()
        .status(403)
        .header("x-say", "keep");
    response.body(Fed::full("")).unwrap()
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    use hyper::body::Incoming;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use test_support::wire::{Raw, within};
    use tokio::net::TcpListener;

    within(async {
        let mut server = Server::start(Protocol::Http1).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client: HttpClient<RequestBody<Incoming>> = client(Protocol::Http1);
        let failover = layer(&pool(["k0", "k1"])).layer(client);
        let service = ModelScopeLayer::new().layer(SaysScope { inner: failover });
        let upstream = server.address;
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                *request.uri_mut() = format!("http://{upstream}/").parse().unwrap();
                request
            })
            .service(service);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let http = hyper::server::conn::http1::Builder::new();
            let service = TowerToHyperService::new(service);
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });

        let mut client = Raw::connect(address).await;
        client
            .write("POST / HTTP/1.1\r\nhost: gateway.test\r\n")
            .await;
        client.write("content-type: application/json\r\n").await;
        let length = BODY.len();
        client
            .write(&format!(
                "content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
            ))
            .await;
        client.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert!(server.has_no_other());
        client.write(BODY).await;
        let mut exchange = server.next().await;
        check(
            &mut exchange,
            &Whole {
                data: BODY.into(),
                trailers: None,
            },
        )
        .await;
        exchange.respond(200);
        client.read_until("HTTP/1.1 200 OK").await;
    })
    .await;
}
