//! Clients that do not finish what they send.

use std::sync::mpsc;
use std::time::Duration;

use tower_key_failover::pool::KeyState;

use crate::hostile::gateway::{MAX_REPLAY, Protocol, run};
use crate::hostile::peer::{FINE, Peer, Upstream};

const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

/// That it ends, and that nothing is held then, is for `run` to check.
#[test]
fn a_client_that_disconnects_during_an_upload_ends_all_attempts() {
    let (ended, end) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        if peer.read_until("hello").contains("first-key") {
            let _ = peer.write(REFUSED);
        } else {
            // Nothing, so that the client can go at its leisure.
            ended.send("begun").unwrap();
        }
        peer.wait_for_the_end();
        ended.send("ended").unwrap();
    });
    let ran = run(upstream.address, Protocol::Http1, move |mut peer| {
        peer.write(POST).unwrap();
        peer.write("5\r\nhello\r\n").unwrap();
        let next = || end.recv_timeout(Duration::from_secs(10)).unwrap();
        // The refused one may end before the next has begun.
        while next() != "begun" {}
        drop(peer);
        end
    });
    assert_eq!(ran.states, [KeyState::Permanent, KeyState::Valid]);
    let end = ran.client;
    let last = end.recv_timeout(Duration::from_secs(10));
    assert_eq!(last, Ok("ended"), "the upstream still waits");
}

#[test]
fn an_endless_upload_holds_at_most_max_replay_bytes() {
    const SENT: usize = 64 << 20;

    let upstream = Upstream::start(|peer| peer.wait_for_the_end());
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        peer.write(POST).unwrap();
        let chunk = [b"10000\r\n", &[b'x'; 65536][..], b"\r\n"].concat();
        peer.flood(&chunk, SENT)
    });
    assert!(ran.client >= SENT);
    assert_eq!(ran.states, [KeyState::Valid; 2]);
    let most = 2 * MAX_REPLAY as u64 + (1 << 20);
    assert!(ran.most < most, "{} bytes were held", ran.most);
}

/// Ten thousand chunks of one byte, to each attempt.
#[test]
fn an_upload_that_arrives_byte_by_byte_is_replayed_and_holds_little_memory() {
    const BYTES: usize = 10_000;

    let upstream = Upstream::start(|mut peer| {
        let is_first = peer.read_head().contains("first-key");
        let body = read_chunks(&mut peer, BYTES);
        let response = match is_first {
            true => REFUSED,
            false if body == bytes(BYTES) => FINE,
            false => "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        };
        let _ = peer.write(response);
        peer.wait_for_the_end();
    });
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        peer.write(POST).unwrap();
        for byte in bytes(BYTES) {
            peer.write([b'1', b'\r', b'\n', byte, b'\r', b'\n'])
                .unwrap();
        }
        peer.write("0\r\n\r\n").unwrap();
        peer.read_head()
    });
    assert!(ran.client.starts_with("HTTP/1.1 200 OK"), "{}", ran.client);
    assert_eq!(ran.states, [KeyState::Permanent, KeyState::Valid]);
    assert!(ran.most < 1 << 20, "{} bytes were held", ran.most);
}

fn bytes(length: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(length).collect()
}

/// The data of chunks, however they are cut.
fn read_chunks(peer: &mut Peer, length: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < length {
        let line = peer.read_until("\r\n");
        let Ok(size) = usize::from_str_radix(line.trim_end(), 16) else {
            break;
        };
        data.extend(peer.read_exact(size));
        peer.read_exact(2);
    }
    data
}
