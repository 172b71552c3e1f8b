//! Nothing waits for what it does not need.

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::wire::{Fed, Protocol, Server, all_valid, call, read_all, stack};

on_both_protocols! {
    async fn the_upload_arrives_while_it_is_being_sent(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        // The head is there before anything of the body is.
        let mut exchange = server.next().await;
        feed.send("first");
        assert_eq!(exchange.read(5).await, "first");
        feed.send("second");
        assert_eq!(exchange.read(6).await, "second");
        drop(feed);
        assert_eq!(read_all(&mut exchange.body).await.unwrap().data, "");
        exchange.respond(200);
        assert_eq!(response.await.unwrap().unwrap().status(), 200);
    }

    async fn a_response_arrives_while_it_is_being_sent(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let service = stack(&layer(&pool(["k0", "k1"])), protocol);
        let caller = call(&service, server.post(Fed::full("hello")));

        server.next().await.respond(401);
        let (events, body) = Fed::of_unknown_length();
        let stream = Response::builder().header("content-type", "text/event-stream");
        server.next().await.respond_with(stream.body(body).unwrap());

        let mut response = caller.await.unwrap().unwrap().into_body();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            events.send(event);
            let frame = response.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), event);
        }
        drop(events);
        assert_eq!(read_all(response).await.unwrap().data, "");
    }

    async fn a_truncated_response_is_an_error_and_is_not_requested_again(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let pool = pool(["k0", "k1"]);
        let service = stack(&layer(&pool), protocol);
        let caller = call(&service, server.post(Fed::full("hello")));

        let (events, body) = Fed::of_unknown_length();
        server.next().await.respond_with(Response::new(body));
        let response = caller.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut response = response.into_body();
        events.send("data: 1\n\n");
        response.frame().await.unwrap().unwrap();
        events.fail();
        response.frame().await.unwrap().unwrap_err();

        assert!(server.has_no_other());
        assert!(all_valid(&pool));
    }
}
