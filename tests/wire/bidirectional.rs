//! An upload that continues after its response has begun.

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::wire::{Fed, Protocol, Server, call, read_all, stack};
use tower_key_failover::ReplayBudget;

on_both_protocols! {
    async fn a_bidirectional_stream_holds_nothing_after_the_response_started(protocol: Protocol) {
        let budget = ReplayBudget::new(usize::MAX);
        let layer = layer(&pool(["k0", "k1", "k2"])).replay_budget(budget.clone());
        let mut server = Server::start(protocol).await;
        let service = stack(&layer, protocol);
        let (feed, body) = Fed::of_unknown_length();
        let caller = call(&service, server.post(body));
        let frame = Bytes::from(vec![b'x'; 50_000]);

        let mut refused = server.next().await;
        feed.send(frame.clone());
        refused.read(frame.len()).await;
        assert_eq!(budget.held(), frame.len());
        refused.respond(401);

        let mut exchange = server.next().await;
        exchange.read(frame.len()).await;
        let (echo, body) = Fed::of_unknown_length();
        let mut upload = exchange.respond_and_keep_body(Response::new(body));
        let mut response = caller.await.unwrap().unwrap().into_body();
        for _ in 0..100 {
            feed.send(frame.clone());
            let mut got = 0;
            while got < frame.len() {
                let data = upload.frame().await.unwrap().unwrap().into_data().unwrap();
                got += data.len();
                echo.send(data);
            }
            let mut back = 0;
            while back < got {
                back += response.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
            assert_eq!(budget.held(), 0);
        }

        drop(feed);
        assert_eq!(read_all(upload).await.unwrap().data, "");
        drop(echo);
        assert_eq!(read_all(response).await.unwrap().data, "");
    }
}
