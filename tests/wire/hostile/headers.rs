//! Heads that are larger than any should be: the attempt fails as one whose connection broke, and
//! no key is blamed.

use tower_key_failover::pool::KeyState;

use crate::hostile::frames::{self, CONTINUATION, HEADERS, header, status};
use crate::hostile::gateway::{HEAD_TIMEOUT, Protocol, Ran, run, run_many};
use crate::hostile::peer::{ASK, Peer, Upstream};

fn ask(mut peer: Peer) -> String {
    peer.write(ASK).unwrap();
    peer.read_head()
}

fn assert_failed(ran: &Ran<String>) {
    assert!(ran.client.starts_with("HTTP/1.1 502"), "{}", ran.client);
    assert_eq!(ran.states, [KeyState::Valid; 2]);
    assert!(ran.most < 2 << 20, "{} bytes were held", ran.most);
}

#[test]
fn a_refusal_with_a_hundred_thousand_headers_is_an_error() {
    let upstream = Upstream::refusing(|peer| {
        let _ = peer.write("HTTP/1.1 401 Unauthorized\r\n");
        peer.flood(&b"x-header: x\r\n".repeat(100), 100_000 * 13);
        let _ = peer.write("\r\n");
    });
    assert_failed(&run(upstream.address, Protocol::Http1, ask));
}

#[test]
fn a_refusal_with_a_header_of_a_megabyte_is_an_error() {
    let upstream = Upstream::refusing(|peer| {
        let _ = peer.write("HTTP/1.1 401 Unauthorized\r\nx-header: ");
        peer.flood(&[b'x'; 4096], 1 << 20);
        let _ = peer.write("\r\n\r\n");
    });
    assert_failed(&run(upstream.address, Protocol::Http1, ask));
}

#[test]
fn a_refusal_with_a_hundred_thousand_headers_in_frames_is_an_error() {
    let upstream = frames::refusing(|stream| {
        stream.write(HEADERS, 0, &status("401"))?;
        for _ in 0..1000 {
            stream.write(CONTINUATION, 0, &header("x-header", "x").repeat(100))?;
        }
        Ok(())
    });
    assert_failed(&run(upstream.address, Protocol::Http2, ask));
}

#[test]
fn clients_that_never_finish_their_heads_never_reach_the_layer() {
    const CLIENTS: usize = 100;

    let upstream = Upstream::start(|_| {});
    let ran = run_many(upstream.address, Protocol::Http1, |gateway| {
        let mut peers: Vec<_> = (0..CLIENTS).map(|_| Peer::connect(gateway)).collect();
        let written = (0..1000).find(|_| {
            std::thread::sleep(HEAD_TIMEOUT / 20);
            peers.retain_mut(|peer| peer.write("x").is_ok());
            peers.is_empty()
        });
        written.expect("they may go on for ever")
    });
    assert!(ran.client < 60, "{} bytes were taken of each", ran.client);
    assert_eq!(upstream.connections(), 0);
    assert!(
        ran.most < CLIENTS as u64 * (32 << 10),
        "{} bytes were held",
        ran.most
    );
}
