//! A missing response proves nothing about the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::wire::{Fed, Protocol, Server, all_valid, call, client, stack};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_key_failover::RequestBody;

on_both_protocols! {
    async fn a_refused_connection_is_returned_at_once(protocol: Protocol) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let pool = pool(["k0", "k1"]);
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let service = ServiceBuilder::new()
            .layer(layer(&pool))
            .map_request(move |request: Request<RequestBody<Fed>>| {
                counted.fetch_add(1, Ordering::SeqCst);
                request
            })
            .service(client(protocol));

        let request = Request::post(uri).body(Fed::full("hello")).unwrap();
        let error = call(&service, request).await.unwrap().unwrap_err();

        assert!(error.is_connect(), "{error:?}");
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        assert!(all_valid(&pool));
    }

    async fn a_connection_that_is_lost_before_the_head_is_returned_at_once(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let pool = pool(["k0", "k1"]);
        let service = stack(&layer(&pool), protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        let mut exchange = server.next().await;
        feed.send("hello");
        exchange.read(5).await;
        drop(exchange);
        response.await.unwrap().unwrap_err();

        assert!(server.has_no_other());
        assert!(all_valid(&pool));
    }
}
