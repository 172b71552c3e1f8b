//! Everything else in a request or a response is unchanged.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::wire::{Fed, Protocol, Raw, Server, call, proxy, read_all, stack, within};

fn trailers() -> HeaderMap {
    let name = HeaderName::from_static("x-sum");
    HeaderMap::from_iter([(name, HeaderValue::from_static("7"))])
}

on_both_protocols! {
    async fn response_trailers_are_forwarded(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let mut request = server.post(Fed::full("hello"));
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let caller = call(&service, request);

        server.next().await.respond(401);
        let (feed, body) = Fed::of_unknown_length();
        feed.send("hi");
        feed.send_trailers(trailers());
        drop(feed);
        let response = Response::builder().header("trailer", "x-sum").body(body);
        server.next().await.respond_with(response.unwrap());

        let response = caller.await.unwrap().unwrap();
        let whole = read_all(response.into_body()).await.unwrap();
        assert_eq!((&whole.data[..], whole.trailers), (&b"hi"[..], Some(trailers())));
    }
}

#[tokio::test]
async fn an_informational_response_reaches_the_callers_callback() {
    within(async {
        let (server, raw) = Server::start_behind_a_raw_connection().await;
        let service = stack(&layer(&pool(["k0", "k1"])), Protocol::Http1);
        let mut request = server.post(Fed::full("hello"));
        let hints = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&hints);
        hyper::ext::on_informational(&mut request, move |response| {
            seen.lock().unwrap().push(response.status());
        });
        let caller = call(&service, request);

        let mut raw = raw.await.unwrap();
        raw.read_until("hello").await;
        raw.write("HTTP/1.1 103 Early Hints\r\n\r\n").await;
        raw.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(caller.await.unwrap().unwrap().status(), 200);
        assert_eq!(hints.lock().unwrap()[..], [103]);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    within(async {
        let mut server = Server::start(Protocol::Http1).await;
        let gateway = proxy(&layer(&pool(["k0", "k1"])), &server).await;

        let mut client = Raw::connect(gateway).await;
        client
            .write("POST / HTTP/1.1\r\nhost: gateway.test\r\n")
            .await;
        client
            .write("content-length: 5\r\nexpect: 100-continue\r\n\r\n")
            .await;
        client.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
        server.next().await.respond(401);
        let mut accepting = server.next().await;
        assert_eq!(accepting.head.headers["expect"], "100-continue");
        client.write("hello").await;
        assert_eq!(read_all(&mut accepting.body).await.unwrap().data, "hello");
        accepting.respond(200);
        let head = client.read_until("\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{head:?}");
    })
    .await;
}
