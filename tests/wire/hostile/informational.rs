//! Informational responses, which precede the final one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_key_failover::pool::KeyState;

use crate::hostile::gateway::{Protocol, run};
use crate::hostile::peer::{ASK, FINE, Upstream};

const PACE: Duration = Duration::from_millis(1);
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";

#[test]
fn a_hundred_thousand_informational_responses_hold_little_memory() {
    let upstream = Upstream::start(|mut peer| {
        peer.read_head();
        peer.flood(HINT.repeat(100).as_bytes(), 100_000 * HINT.len());
        let _ = peer.write(FINE);
    });
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        peer.write(ASK).unwrap();
        peer.read_head()
    });
    assert!(ran.client.starts_with("HTTP/1.1 200 OK"), "{}", ran.client);
    assert_eq!(ran.states, [KeyState::Valid; 2]);
    assert!(ran.most < 1 << 20, "{} bytes were held", ran.most);
}

#[test]
fn a_client_that_disconnects_ends_endless_informational_responses() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let upstream = Upstream::start(move |mut peer| {
        peer.read_head();
        // At a pace that leaves hyper time for its other tasks.
        while peer.write_after(PACE, HINT).is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let ran = run(upstream.address, Protocol::Http1, move |mut peer| {
        peer.write(ASK).unwrap();
        while written.load(Ordering::SeqCst) < 300 {
            std::thread::yield_now();
        }
    });
    assert_eq!(ran.states, [KeyState::Valid; 2]);
    assert!(ran.most < 1 << 20, "{} bytes were held", ran.most);
}
