//! A small frame that hyper hands on pins the whole read buffer that it was cut from.

use test_support::mock::{layer, pool};
use test_support::wire::{Protocol, Raw, Server, proxy, read_all, within};
use tower_key_failover::ReplayBudget;

#[tokio::test]
async fn twenty_thousand_one_byte_chunks_are_replayed_and_hold_little_memory() {
    const CHUNKS: usize = 20_000;

    within(async {
        let budget = ReplayBudget::new(usize::MAX);
        let mut server = Server::start(Protocol::Http1).await;
        let layer = layer(&pool(["k0", "k1"])).replay_budget(budget.clone());
        let gateway = proxy(&layer, &server).await;

        let mut client = Raw::connect(gateway).await;
        client
            .write("POST / HTTP/1.1\r\nhost: gateway.test\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        let bytes: String = ('a'..='z').cycle().take(CHUNKS).collect();
        let chunks: String = bytes
            .chars()
            .map(|byte| format!("1\r\n{byte}\r\n"))
            .collect();
        client.write(&chunks).await;

        let mut refused = server.next().await;
        assert_eq!(refused.read(CHUNKS).await, bytes);
        let held = budget.held();
        assert!(
            (CHUNKS..4 * CHUNKS).contains(&held),
            "{held} bytes are held"
        );
        refused.respond(401);

        let mut accepting = server.next().await;
        client.write("0\r\n\r\n").await;
        assert_eq!(read_all(&mut accepting.body).await.unwrap().data, bytes);
        accepting.respond(200);
        client.read_until("HTTP/1.1 200 OK\r\n").await;
        assert_eq!(budget.held(), 0);
    })
    .await;
}
