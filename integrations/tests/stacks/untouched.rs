//! What passes as it does without the layer, down to the bytes on the wire.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_key_failover::policy::{Byok, Provider};
use tower_key_failover::{Attempt, KeyFailoverLayer, RequestBody};

use crate::support::{
    Body, HttpClient, Upstream, client, failover, key_of, listen, pool, serve, text, within,
};

const REFUSED: &str = "HTTP/1.1 429 Too Many Requests\r\n\
    date: Sun, 30 Aug 2015 12:36:00 GMT\r\ncontent-length: 0\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 200 Fine\r\nX-Zeta: 1\r\nx-AlPHa: 2\r\nx-zeta: 3\r\n\
    Date: Sun, 30 Aug 2015 12:36:00 GMT\r\nContent-Length: 2\r\n\r\nok";

/// An upstream of which every byte is known: it refuses the key `limited`.
struct Wire {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    async fn start() -> Self {
        Self::responding(REFUSED, ACCEPTED).await
    }

    async fn responding(refused: &'static str, accepted: &'static str) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    while let Some(message) = read_message(&mut stream).await {
                        let refuse = message.contains("Bearer limited");
                        noted.lock().unwrap().push(message);
                        let response = if refuse { refused } else { accepted };
                        stream.write_all(response.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn uri(&self) -> String {
        format!("http://{}/a%2Fb//c?q=%20+&&empty=", self.address)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn read_message(stream: &mut TcpStream) -> Option<String> {
    let mut message = Vec::new();
    loop {
        if stream.read_buf(&mut message).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8(message.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split_once("content-length: ").map(|(_, rest)| {
            let length = rest.lines().next().unwrap();
            length.parse::<usize>().unwrap()
        });
        let complete = if head.contains("transfer-encoding: chunked") {
            let body = format!("\r\n{body}");
            body.contains("\r\n0\r\n") && body.ends_with("\r\n\r\n")
        } else {
            body.len() == length.unwrap_or(0)
        };
        if complete {
            return Some(text);
        }
    }
}

/// Asserts that each of two attempts sent what goes without the layer, but for a key of its own.
fn assert_sent_alike(without: &[String], with: &[String], key_header: &str) {
    let [without] = without else {
        panic!("one request without the layer");
    };
    let [first, second] = with else {
        panic!("two attempts with it");
    };
    let key_header = key_header.to_ascii_lowercase();
    let keyless = |message: &String| {
        let lines = message.split_inclusive("\r\n");
        let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with(&key_header));
        kept.collect::<String>()
    };
    assert_eq!(&keyless(first), without);
    assert_eq!(&keyless(second), without);
    assert_ne!(first, second);
}

fn title_case<B>() -> HttpClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .http1_title_case_headers(true)
        .build_http()
}

fn question(wire: &Wire) -> Request<Body> {
    Request::put(wire.uri())
        .header("x-zeta", "1")
        .header("accept", "*/*")
        .header("x-alpha", "2")
        .header("x-zeta", "3")
        .header("user-agent", "a caller")
        .body(Full::from("a question"))
        .unwrap()
}

#[tokio::test]
async fn every_attempt_sends_the_clients_request_unchanged() {
    let wire = Wire::start().await;
    within(title_case().request(question(&wire))).await.unwrap();
    let without = wire.take();

    let service = failover(&pool(["limited", "good"])).layer(title_case());
    within(service.oneshot(question(&wire))).await.unwrap();

    assert!(without[0].contains("X-Zeta: 1\r\n"));
    assert_sent_alike(&without, &wire.take(), "authorization:");
}

#[tokio::test]
async fn replacing_a_placeholder_keeps_the_order_of_the_other_headers() {
    let wire = Wire::start().await;
    within(title_case().request(question(&wire))).await.unwrap();
    let without = wire.take();

    let mut request = question(&wire);
    let headers = std::mem::take(request.headers_mut());
    request
        .headers_mut()
        .insert("authorization", "Bearer dummy".parse().unwrap());
    request
        .headers_mut()
        .insert("x-api-key", "dummy".parse().unwrap());
    request.headers_mut().extend(headers);
    let layer = KeyFailoverLayer::new(
        Provider::bearer().byok(Byok::Never),
        pool(["limited", "good"]),
    );
    within(layer.layer(title_case()).oneshot(request))
        .await
        .unwrap();

    assert_sent_alike(&without, &wire.take(), "authorization:");
}

#[tokio::test]
async fn removing_an_item_with_a_placeholder_keeps_the_order_of_headers() {
    let wire = Wire::start().await;
    let request = |beta: &[&'static str], token: Option<&'static str>| {
        let mut request = question(&wire);
        let rest = std::mem::take(request.headers_mut());
        let headers = request.headers_mut();
        for item in beta {
            headers.append("anthropic-beta", item.parse().unwrap());
        }
        headers.extend(rest);
        if let Some(token) = token {
            headers.insert("authorization", token.parse().unwrap());
        }
        request
    };
    within(title_case().request(request(&["one, two", "three"], None)))
        .await
        .unwrap();
    let without = wire.take();

    let policy = Provider::anthropic().byok(Byok::Never);
    let service = KeyFailoverLayer::new(policy, pool(["first", "second"])).layer(title_case());
    let oauth = ["one, two", "oauth-2025-04-20", "three"];
    within(service.oneshot(request(&oauth, Some("Bearer dummy"))))
        .await
        .unwrap();

    let sent = wire.take();
    assert_eq!(sent[0].replace("X-Api-Key: first\r\n", ""), without[0]);
}

/// A proxy that keeps the case of headers on both sides.
async fn proxy<S>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<axum::body::Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper::server::conn::http1::Builder::new()
                .preserve_header_case(true)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

fn case_keeper<B>() -> HttpClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .http1_preserve_header_case(true)
        .build_http()
}

fn to<B>(wire: &Wire) -> impl Fn(Request<B>) -> Request<B> + Clone + Send + 'static {
    let authority = wire.address;
    move |mut request| {
        let path = request.uri().path_and_query().unwrap();
        *request.uri_mut() = format!("http://{authority}{path}").parse().unwrap();
        request
    }
}

async fn exchange(address: SocketAddr, message: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(message.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(stream.read_to_string(&mut response)).await.unwrap();
    response
}

const RAW_QUESTION: &str = "POST /a%2Fb//c?q=%20+&&empty= HTTP/1.1\r\nhOsT: upstream.test\r\n\
    X-ZETA: 1\r\naccepT: */*\r\nx-alpha: 2\r\nx-Zeta: 3\r\nConnection: close\r\n\
    Content-LENGTH: 10\r\n\r\na question";

#[tokio::test]
async fn a_proxy_forwards_requests_and_responses_unchanged() {
    let wire = Wire::start().await;
    let plain = ServiceBuilder::new()
        .map_request(to(&wire))
        .map_response(|response: Response<_>| response.map(axum::body::Body::new))
        .service(case_keeper::<Incoming>());
    let plain_response = exchange(proxy(plain).await, RAW_QUESTION).await;
    let without = wire.take();

    let service = ServiceBuilder::new()
        .map_request(to(&wire))
        .map_response(|response: Response<_>| response.map(axum::body::Body::new))
        .layer(failover(&pool(["limited", "good"])))
        .service(case_keeper());
    let response = exchange(proxy(service).await, RAW_QUESTION).await;

    assert!(without[0].contains("X-ZETA: 1\r\n"), "{without:?}");
    assert_sent_alike(&without, &wire.take(), "authorization:");
    assert!(response.contains("x-AlPHa: 2\r\n"), "{response:?}");
    assert_eq!(response, plain_response);
}

#[tokio::test]
async fn a_chunked_upload_keeps_its_trailers_in_every_attempt() {
    let wire = Wire::start().await;
    let upload = || async {
        let (mut upload, body) = Channel::<Bytes>::new(2);
        upload.send_data(Bytes::from("one")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "3".parse().unwrap());
        upload.send_trailers(trailers).await.unwrap();
        let request = Request::post(wire.uri()).header("trailer", "x-sum");
        request.body(body).unwrap()
    };
    within(client().request(upload().await)).await.unwrap();
    let without = wire.take();

    let service = failover(&pool(["limited", "good"])).layer(client());
    within(service.oneshot(upload().await)).await.unwrap();

    assert!(
        without[0].ends_with("3\r\none\r\n0\r\nx-sum: 3\r\n\r\n"),
        "{without:?}"
    );
    assert_sent_alike(&without, &wire.take(), "authorization:");
}

#[tokio::test]
async fn response_trailers_follow_the_body() {
    let accepted = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
        2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
    let wire = Wire::responding(REFUSED, accepted).await;
    let service = failover(&pool(["limited", "good"])).layer(client());

    let mut request = question(&wire);
    request
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    let response = within(service.oneshot(request)).await.unwrap();

    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "2");
    assert_eq!(collected.to_bytes(), "ok");
}

#[tokio::test]
async fn trailers_pass_in_both_directions_on_http2() {
    let upstream = Upstream::start().await;
    let http2 = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let service = failover(&pool(["limited", "good"])).layer(http2);

    let (mut upload, body) = Channel::<Bytes>::new(2);
    upload.send_data(Bytes::from("one")).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "3".parse().unwrap());
    upload.send_trailers(trailers.clone()).await.unwrap();
    let request = Request::post(upstream.uri("/v1/messages"))
        .body(body)
        .unwrap();
    let response = within(service.oneshot(request)).await.unwrap();

    let collected = within(response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
}

#[tokio::test]
async fn informational_responses_of_every_attempt_reach_the_caller() {
    const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
    let refused = format!("{HINT}{REFUSED}").leak();
    let accepted = format!("{HINT}{HINT}{ACCEPTED}").leak();
    let wire = Wire::responding(refused, accepted).await;
    let service = failover(&pool(["limited", "good"])).layer(client());

    let hints = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&hints);
    let mut request = question(&wire);
    hyper::ext::on_informational(&mut request, move |hint| {
        noted.lock().unwrap().push(hint.status().as_u16());
    });
    let response = within(service.oneshot(request)).await.unwrap();

    assert_eq!(text(response).await, "ok");
    assert_eq!(*hints.lock().unwrap(), [103, 103, 103]);
}

const EXPECTING: &str = "POST /v1/messages HTTP/1.1\r\nhost: gateway.test\r\n\
    expect: 100-continue\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";

/// axum with the layer over `wire`.
async fn gateway(wire: &Wire, keys: [&'static str; 2]) -> SocketAddr {
    let service = ServiceBuilder::new()
        .layer(axum::error_handling::HandleErrorLayer::new(|_| async {
            StatusCode::BAD_GATEWAY
        }))
        .map_request(to::<axum::body::Body>(wire))
        .layer(failover(&pool(keys)))
        .service(client());
    let router = axum::Router::new().fallback_service(service);
    serve(router).await.0
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_once() {
    let wire = Wire::start().await;
    let gateway = gateway(&wire, ["limited", "good"]).await;

    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(EXPECTING.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    within(stream.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"a question").await.unwrap();
    let mut response = String::new();
    within(stream.read_to_string(&mut response)).await.unwrap();

    assert!(response.starts_with("HTTP/1.1 200 "), "{response:?}");
    let sent = wire.take();
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter()
            .all(|message| message.contains("expect: 100-continue\r\n"))
    );
    assert!(
        sent.iter()
            .all(|message| message.ends_with("\r\n\r\na question"))
    );
}

#[tokio::test]
async fn a_client_that_expects_100_continue_does_not_get_it_if_no_key_is_left() {
    let wire = Wire::start().await;
    let gateway = gateway(&wire, ["limited", "limited-too"]).await;
    exchange(gateway, RAW_QUESTION).await;

    // It sends no body: none is asked for.
    let response = exchange(gateway, EXPECTING).await;

    assert!(response.starts_with("HTTP/1.1 429 "), "{response:?}");
}

/// Put into its request by a layer beneath.
#[derive(Clone, Debug)]
struct Beneath;

/// Put into the request by the caller.
#[derive(Clone, Debug, PartialEq)]
struct Callers(&'static str);

#[tokio::test]
async fn changes_of_a_layer_below_end_with_their_attempt() {
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "revoked", "good"])).extensions(true))
        .map_request(|mut request: Request<RequestBody<Body>>| {
            assert_eq!(request.method(), Method::POST);
            assert_eq!(request.uri(), "/v1/messages");
            *request.method_mut() = Method::PATCH;
            *request.uri_mut() = "/beneath".parse().unwrap();
            let header = request
                .headers_mut()
                .insert("x-beneath", "1".parse().unwrap());
            assert_eq!(header, None);
            let extension = request.extensions_mut().insert(Beneath);
            assert!(extension.is_none());
            request
        })
        .service(service_fn(
            |request: Request<RequestBody<Body>>| async move {
                let mut response = Response::new(Body::default());
                *response.status_mut() = match key_of(request.headers()) {
                    "limited" => StatusCode::TOO_MANY_REQUESTS,
                    "revoked" => StatusCode::UNAUTHORIZED,
                    _ => StatusCode::OK,
                };
                response.extensions_mut().insert(Callers("accepted"));
                Ok::<_, Infallible>(response)
            },
        ));

    let request = Request::post("/v1/messages").body(Body::default()).unwrap();
    let response = service.oneshot(request).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(response.extensions().get(), Some(&Callers("accepted")));
    assert!(response.extensions().get::<Beneath>().is_none());
    assert!(response.extensions().get::<Attempt>().is_none());
    assert!(response.headers().is_empty());
}

#[tokio::test]
async fn each_attempt_has_its_own_extension() {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&attempts);
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "revoked", "good"])).extensions(true))
        .map_request(move |request: Request<RequestBody<Body>>| {
            let in_body = request.body().attempt().unwrap().number();
            let attempt = request.extensions().get::<Attempt>().unwrap();
            assert_eq!(attempt.number(), in_body);
            let key = attempt.key().expose_secret().to_owned();
            noted.lock().unwrap().push((in_body, key));
            request
        })
        .service(client());

    within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    let attempts = attempts.lock().unwrap();
    let expected = [(1, "limited"), (2, "revoked"), (3, "good")];
    assert_eq!(
        *attempts,
        expected.map(|(number, key)| (number, key.to_owned()))
    );
}

#[tokio::test]
async fn each_attempt_gets_the_callers_request_without_traces_of_earlier_attempts() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let inner = service_fn(move |request: Request<_>| {
        let (head, _): (http::request::Parts, RequestBody<Body>) = request.into_parts();
        let status = if head.headers["authorization"] == "Bearer good" {
            200
        } else {
            429
        };
        noted.lock().unwrap().push(head);
        let response = Response::builder().status(status).body(Body::default());
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    let service = failover(&pool(["limited", "revoked", "good"])).layer(inner);

    let mut request = Request::new(Body::default());
    *request.method_mut() = Method::from_bytes(b"PURGE").unwrap();
    *request.uri_mut() = "/a%2Fb?q=%20&&".parse().unwrap();
    *request.version_mut() = Version::HTTP_10;
    request
        .headers_mut()
        .insert("x-callers", "1".parse().unwrap());
    request.extensions_mut().insert(Callers("asked"));
    service.oneshot(request).await.unwrap();

    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for (head, key) in seen.iter().zip(["limited", "revoked", "good"]) {
        assert_eq!(head.method, "PURGE");
        assert_eq!(head.uri, "/a%2Fb?q=%20&&");
        assert_eq!(head.version, Version::HTTP_10);
        assert_eq!(head.extensions.get(), Some(&Callers("asked")));
        assert_eq!(head.extensions.len(), 1);
        let headers: Vec<_> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(headers, ["x-callers", "authorization"]);
        assert_eq!(key_of(&head.headers), key);
    }
}
