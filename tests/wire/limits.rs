//! What is held of an upload is bounded, and given back.

use bytes::Bytes;
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::policy::TestPolicy;
use test_support::wire::{Fed, Protocol, Server, call, read_all, stack};
use tower_key_failover::{FailoverInfo, KeyFailoverLayer, Outcome, Replay, ReplayBudget};

const LIMIT: usize = 100_000;

/// Refuses the first key once `length` bytes of the body have arrived, while the upload continues. Returns
/// the status of the response and how it came about.
async fn refuse_after(
    layer: KeyFailoverLayer<TestPolicy>,
    protocol: Protocol,
    length: usize,
) -> (u16, FailoverInfo) {
    let mut server = Server::start(protocol).await;
    let service = stack(&layer, protocol);
    let (feed, body) = Fed::of_unknown_length();
    let caller = call(&service, server.post(body));

    let sent = Bytes::from(vec![b'x'; length]);
    sent.chunks(20_000)
        .for_each(|chunk| feed.send(sent.slice_ref(chunk)));
    let mut refused = server.next().await;
    assert!(refused.read(length).await == sent, "the attempt was harmed");
    refused.respond(401);

    let mut caller = caller;
    let response = tokio::select! {
        response = &mut caller => response,
        mut accepting = server.next() => {
            assert!(accepting.read(length).await == sent, "not what was sent");
            drop(feed);
            accepting.respond(200);
            caller.await
        }
    };
    let response = response.unwrap().unwrap();
    (
        response.status().into(),
        response.body().failover().unwrap().clone(),
    )
}

/// Accepts an upload of `length` bytes.
async fn accept(layer: KeyFailoverLayer<TestPolicy>, protocol: Protocol, length: usize) -> Replay {
    let mut server = Server::start(protocol).await;
    let service = stack(&layer, protocol);
    let (feed, body) = Fed::of_unknown_length();
    let caller = call(&service, server.post(body));

    let sent = Bytes::from(vec![b'x'; length]);
    sent.chunks(20_000)
        .for_each(|chunk| feed.send(sent.slice_ref(chunk)));
    drop(feed);
    let mut exchange = server.next().await;
    let got = read_all(&mut exchange.body).await.unwrap();
    assert!(got.data == sent, "the attempt was harmed");
    exchange.respond(200);
    let response = caller.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    response.body().failover().unwrap().replay()
}

on_both_protocols! {
    async fn a_body_of_exactly_the_limit_is_sent_again(protocol: Protocol) {
        let layer = layer(&pool(["k0", "k1"])).max_replay_bytes(LIMIT);
        let (status, info) = refuse_after(layer, protocol, LIMIT).await;
        assert_eq!((status, info.attempts()), (200, 2));
    }

    async fn a_body_of_one_byte_over_the_limit_is_not_sent_again(protocol: Protocol) {
        let budget = ReplayBudget::new(usize::MAX);
        let layer = layer(&pool(["k0", "k1"])).max_replay_bytes(LIMIT).replay_budget(budget.clone());
        let (status, info) = refuse_after(layer, protocol, LIMIT + 1).await;
        // Another key is valid: the caller's own retry meets it.
        assert_eq!((status, info.attempts()), (429, 1));
        assert_eq!((info.outcome(), info.replay()), (Outcome::Exhausted, Replay::TooLarge));
        assert_eq!(budget.held(), 0);
    }

    async fn a_body_over_the_limit_streams_on(protocol: Protocol) {
        let layer = layer(&pool(["k0", "k1"])).max_replay_bytes(LIMIT);
        assert_eq!(accept(layer, protocol, 10 * LIMIT).await, Replay::TooLarge);
    }

    async fn a_body_of_exactly_the_budget_is_sent_again(protocol: Protocol) {
        // A frame of 16 KiB or more counts for what it is.
        let budget = ReplayBudget::new(LIMIT);
        let layer = layer(&pool(["k0", "k1"])).replay_budget(budget.clone());
        let (status, info) = refuse_after(layer, protocol, LIMIT).await;
        assert_eq!((status, info.attempts()), (200, 2));
        assert_eq!(budget.held(), 0);
    }

    async fn a_body_of_one_byte_over_the_budget_is_not_sent_again(protocol: Protocol) {
        let budget = ReplayBudget::new(LIMIT);
        let layer = layer(&pool(["k0", "k1"])).replay_budget(budget.clone());
        let (status, info) = refuse_after(layer, protocol, LIMIT + 1).await;
        assert_eq!((status, info.attempts()), (429, 1));
        assert_eq!((info.outcome(), info.replay()), (Outcome::Exhausted, Replay::OverBudget));
        assert_eq!(budget.held(), 0);
    }

    async fn a_body_over_the_budget_streams_on(protocol: Protocol) {
        let layer = layer(&pool(["k0", "k1"])).replay_budget(ReplayBudget::new(LIMIT));
        assert_eq!(accept(layer, protocol, 10 * LIMIT).await, Replay::OverBudget);
    }

    async fn a_body_whose_length_is_over_the_limit_is_not_recorded(protocol: Protocol) {
        let budget = ReplayBudget::new(usize::MAX);
        let layer = layer(&pool(["k0", "k1"])).max_replay_bytes(9).replay_budget(budget.clone());
        let mut server = Server::start(protocol).await;
        let service = stack(&layer, protocol);
        let (feed, body) = Fed::of_length(10);
        let caller = call(&service, server.post(body));

        let mut exchange = server.next().await;
        feed.send("01234");
        exchange.read(5).await;
        assert_eq!(budget.held(), 0);
        exchange.respond(401);
        let response = caller.await.unwrap().unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.body().failover().unwrap().replay(), Replay::TooLarge);
    }

    async fn a_caller_that_gives_up_during_its_upload_leaves_nothing_held(protocol: Protocol) {
        let budget = ReplayBudget::new(usize::MAX);
        let layer = layer(&pool(["k0", "k1"])).replay_budget(budget.clone());
        let mut server = Server::start(protocol).await;
        let service = stack(&layer, protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        let mut exchange = server.next().await;
        feed.send(vec![b'x'; LIMIT]);
        exchange.read(LIMIT).await;
        assert_eq!(budget.held(), LIMIT);
        response.abort();
        response.await.unwrap_err();
        assert_eq!(budget.held(), 0);
    }

    async fn a_caller_that_gives_up_during_a_replay_leaves_nothing_held(protocol: Protocol) {
        const MORE_THAN_IS_TAKEN_UNREAD: usize = 8 << 20;
        let budget = ReplayBudget::new(usize::MAX);
        let layer = layer(&pool(["k0", "k1"])).replay_budget(budget.clone());
        let mut server = Server::start(protocol).await;
        let service = stack(&layer, protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        let mut refused = server.next().await;
        let sent = Bytes::from(vec![b'x'; MORE_THAN_IS_TAKEN_UNREAD]);
        sent.chunks(64 << 10).for_each(|chunk| feed.send(sent.slice_ref(chunk)));
        refused.read(sent.len()).await;
        assert_eq!(budget.held(), sent.len());
        refused.respond(401);
        let unread = server.next().await;
        assert!(budget.held() > 0);
        response.abort();
        // hyper keeps an upload on HTTP/1.1 as long as the connection takes nothing more of it.
        drop(unread);
        feed.abandoned().await;
        assert_eq!(budget.held(), 0);
    }
}
