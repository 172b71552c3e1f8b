//! What becomes of the connection that a refused attempt was made on.

use std::io;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Response};
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::wire::{Fed, Protocol, Server, call, read_all, response_with, stack};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

const ERROR: &str = r#"{"type":"error","error":{"type":"authentication_error","message":"no"}}"#;

/// Plays a request whose upload is complete before the first key is refused, and returns which
/// connection the second attempt came over, and how many there are.
async fn refuse_after_the_upload(protocol: Protocol, refusal: Response<Fed>) -> (usize, usize) {
    let mut server = Server::start(protocol).await;
    let service = stack(&layer(&pool(["k0", "k1"])), protocol);
    let response = call(&service, server.post(Fed::full("hello")));

    let mut refused = server.next().await;
    assert_eq!(read_all(&mut refused.body).await.unwrap().data, "hello");
    refused.respond_with(refusal);

    let mut accepting = server.next().await;
    assert_eq!(read_all(&mut accepting.body).await.unwrap().data, "hello");
    let connection = accepting.connection;
    accepting.respond(200);
    assert_eq!(response.await.unwrap().unwrap().status(), 200);
    (connection, server.connections())
}

on_both_protocols! {
    async fn a_refusal_without_a_body_keeps_its_connection_reusable(protocol: Protocol) {
        let used = refuse_after_the_upload(protocol, response_with(401, "")).await;
        assert_eq!(used, (1, 1));
    }

    async fn a_refusal_with_a_short_body_keeps_its_connection_reusable(protocol: Protocol) {
        let used = refuse_after_the_upload(protocol, response_with(401, ERROR)).await;
        assert_eq!(used, (1, 1));
    }

    async fn an_inspected_refusal_keeps_its_connection_reusable(protocol: Protocol) {
        let mut refusal = response_with(401, ERROR);
        refusal.headers_mut().insert("x-say", HeaderValue::from_static("inspect, status"));
        let used = refuse_after_the_upload(protocol, refusal).await;
        assert_eq!(used, (1, 1));
    }

    async fn a_chunked_refusal_keeps_its_connection_reusable(protocol: Protocol) {
        let (feed, body) = Fed::of_unknown_length();
        feed.send(ERROR);
        drop(feed);
        let refusal = Response::builder().status(401).body(body).unwrap();
        // Beside it hyper may have begun to make another one.
        let (used, _) = refuse_after_the_upload(protocol, refusal).await;
        assert_eq!(used, 1);
    }

    /// On HTTP/1.1 its connection is closed; on HTTP/2 its stream is reset.
    async fn a_refused_upload_that_was_not_complete_ends_abruptly(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        let mut refused = server.next().await;
        feed.send("hel");
        refused.read(3).await;
        let unfinished = refused.respond_and_keep_body(response_with(401, "no"));
        let cut = read_all(unfinished).await;
        assert!(cut.is_err(), "looks complete: {cut:?}");

        let mut accepting = server.next().await;
        feed.send("lo");
        drop(feed);
        assert_eq!(read_all(&mut accepting.body).await.unwrap().data, "hello");
        let connections = match protocol {
            Protocol::Http1 => 2,
            Protocol::Http2 => 1,
        };
        assert_eq!(accepting.connection, connections);
        accepting.respond(200);
        assert_eq!(response.await.unwrap().unwrap().status(), 200);
    }

    async fn nothing_above_debug_is_logged_about_a_refused_upload(protocol: Protocol) {
        let log = Log::default();
        let writer = log.clone();
        let subscribed = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish()
            .set_default();
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        let mut refused = server.next().await;
        feed.send("hel");
        refused.read(3).await;
        let unfinished = refused.respond_and_keep_body(response_with(401, ERROR));
        let accepting = server.next().await;
        drop(feed);
        accepting.respond(200);
        assert_eq!(response.await.unwrap().unwrap().status(), 200);
        read_all(unfinished).await.unwrap_err();
        drop(subscribed);

        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let (quiet, loud): (Vec<_>, Vec<_>) = log
            .lines()
            .map(str::trim_start)
            // The layer's own, where it logs.
            .filter(|line| !line.contains("tower_key_failover: "))
            .partition(|line| line.starts_with("TRACE") || line.starts_with("DEBUG"));
        assert!(!quiet.is_empty(), "nothing was captured");
        assert!(loud.is_empty(), "{loud:#?}");
    }
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
