//! What the server and the network see.

use tower_key_failover::KeyPool;

use crate::proxy::Proxy;
use crate::replica::{KEYS, LABELS, Replica, SECRET, fast, until};
use crate::server;
use crate::upstream::Upstream;

const GROUP: &str = "group-canary";
const MODEL: &str = "model-canary-of-a-client";

#[tokio::test]
async fn neither_the_server_nor_the_connection_contains_keys_labels_groups_models_or_secrets() {
    let server = server!();
    let proxy = Proxy::start(server.addr()).await;
    let keys = LABELS.into_iter().zip(KEYS);
    let builder = keys.fold(KeyPool::builder(), |builder, (label, key)| {
        builder.labeled_key(label, key).group(GROUP)
    });
    let one = Replica::of(fast(&proxy.url()), builder);
    one.connected().await;
    one.cool_down(0, 30);
    one.key(1).mark_permanent();
    one.pool.disable(LABELS[2]).unwrap();
    one.flushed().await;
    one.pool.reinstate(LABELS[1]).unwrap();
    one.flushed().await;
    let upstream = Upstream::default();
    upstream.limit(KEYS[1], MODEL, 30);
    upstream.request_for(&one, MODEL).await;
    until(|| !one.scopes(1).is_empty()).await;
    one.flushed().await;
    let other = Replica::fast(&proxy.url()).await;
    until(|| !other.scopes(1).is_empty()).await;

    server.run(&["SAVE"]);
    let dump = std::fs::read(server.folder().join("dump.rdb")).unwrap();
    let passed = proxy.passed();
    // What is searched is there at all.
    for (bytes, place) in [(&dump, "dump"), (&passed, "connection")] {
        assert!(contains(bytes, b"tower-key-failover:{pool}"), "{place}");
    }
    assert!(contains(&passed, b"rate_limited") || contains(&passed, b"other"));
    let planted = KEYS
        .into_iter()
        .chain(LABELS)
        .chain([GROUP, SECRET, MODEL, "canary"]);
    for text in planted {
        for form in forms(text) {
            assert!(!contains(&dump, &form), "the dump contains {text}");
            assert!(!contains(&passed, &form), "the connection contains {text}");
        }
        // Nor a part of it.
        for part in text.as_bytes().windows(8) {
            assert!(
                !contains(&passed, part),
                "the connection contains a part of {text}"
            );
        }
    }
}

/// The text as it is, in hexadecimal digits, and reversed.
fn forms(text: &str) -> [Vec<u8>; 3] {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let reversed = text.bytes().rev().collect();
    [text.into(), hex.into(), reversed]
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
