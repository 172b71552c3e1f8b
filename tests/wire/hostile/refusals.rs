//! Refusals that do not end, or end badly. The next key succeeds, however the first response
//! continues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_key_failover::pool::KeyState;

use crate::hostile::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, header, status,
};
use crate::hostile::gateway::{Protocol, Ran, run};
use crate::hostile::peer::{ASK, Peer, Upstream};

/// All that one refusal may cost, with hyper's own buffers on both sides.
const LITTLE: u64 = 1 << 20;

const UNTIL_THE_END: &str = "HTTP/1.1 401 Unauthorized\r\n\r\n";

fn ask(mut peer: Peer) -> String {
    peer.write(ASK).unwrap();
    let response = peer.read_head();
    peer.wait_for_the_end();
    response
}

/// The second key succeeded, and the first is permanently marked.
fn assert_failed_over(ran: &Ran<String>, time: Duration) {
    assert!(ran.client.starts_with("HTTP/1.1 200 OK"), "{}", ran.client);
    assert_eq!(ran.states, [KeyState::Permanent, KeyState::Valid]);
    assert!(ran.elapsed < time, "it took {:?}", ran.elapsed);
    assert!(ran.most < LITTLE, "{} bytes were held", ran.most);
}

#[test]
fn an_endless_refusal_is_read_up_to_64_kib() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let upstream = Upstream::refusing(move |peer| {
        peer.write(UNTIL_THE_END).unwrap();
        let wrote = peer.flood(&[b'x'; 4096], usize::MAX);
        counted.store(wrote, Ordering::SeqCst);
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
    // What sockets hold comes to a few megabytes.
    assert!(written.load(Ordering::SeqCst) < 16 << 20);
    assert_eq!(upstream.connections(), 2, "the first is let go of");
}

#[test]
fn a_refusal_that_arrives_byte_by_byte_is_read_for_one_second() {
    let upstream = Upstream::refusing(|peer| {
        peer.write(UNTIL_THE_END).unwrap();
        while peer.dribble("x", Duration::from_millis(5)).is_ok() {}
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(1900));
    assert!(ran.elapsed >= Duration::from_secs(1));
}

#[test]
fn a_refusal_whose_head_arrives_byte_by_byte_is_a_refusal() {
    let upstream = Upstream::refusing(|peer| {
        let head = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
        peer.dribble(head, Duration::from_millis(2)).unwrap();
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}

#[test]
fn a_refusal_that_stalls_after_its_head_is_awaited_for_one_second() {
    let upstream = Upstream::refusing(|peer| {
        let head = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\n";
        peer.write(head).unwrap();
        peer.skim(usize::MAX);
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(1900));
}

#[test]
fn a_refusal_whose_connection_closes_is_judged_by_what_arrived() {
    let upstream = Upstream::refusing(|peer| {
        let cut = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 1000\r\n\r\n{\"error\":";
        peer.write(cut).unwrap();
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}

#[test]
fn a_refusal_in_broken_chunks_is_judged_by_what_arrived() {
    let upstream = Upstream::refusing(|peer| {
        let head = "HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n";
        peer.write(head).unwrap();
        let _ = peer.write("5\r\nhello\r\nfffffffffffffffff\r\n");
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}

#[test]
fn a_connection_that_is_reset_during_a_refusal_marks_no_other_key() {
    let upstream = Upstream::refusing(|peer| {
        let cut = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 1000\r\n\r\n{\"error\":";
        peer.write(cut).unwrap();
        // Closed over data that was not read, a connection is reset.
    });
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n";
        peer.write(post).unwrap();
        peer.flood(&[b'x'; 64 << 10], 4 << 20);
        peer.read_head()
    });
    // The reset may overtake the refusal, as without the layer.
    assert!(
        matches!(
            ran.states[..],
            [KeyState::Permanent | KeyState::Valid, KeyState::Valid]
        ),
        "{:?}",
        ran.states
    );
    assert!(
        ran.elapsed < Duration::from_millis(2900),
        "{:?}",
        ran.elapsed
    );
}

/// Chunks of a byte each, with extensions of kilobytes.
#[test]
fn a_refusal_in_padded_chunks_is_judged_by_what_arrived() {
    let upstream = Upstream::refusing(|peer| {
        let head = "HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n";
        peer.write(head).unwrap();
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(4000));
        while peer.write(&chunk).is_ok() {}
    });
    let ran = run(upstream.address, Protocol::Http1, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}

#[test]
fn an_endless_response_streams_through_and_holds_little_memory() {
    let upstream = Upstream::refusing(|peer| {
        peer.write("HTTP/1.1 500 Internal Server Error\r\n\r\n")
            .unwrap();
        peer.flood(&[b'x'; 64 << 10], usize::MAX);
    });
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        peer.write(ASK).unwrap();
        peer.skim(64 << 20)
    });
    assert!(ran.client >= 64 << 20);
    assert_eq!(ran.states, [KeyState::Valid; 2]);
    assert!(ran.most < 2 * LITTLE, "{} bytes were held", ran.most);
}

#[test]
fn endless_empty_frames_are_read_for_one_second() {
    let upstream = frames::refusing(|stream| {
        stream.write(HEADERS, END_HEADERS, &status("401"))?;
        loop {
            stream.write(DATA, 0, &[])?;
        }
    });
    let ran = run(upstream.address, Protocol::Http2, ask);
    assert_failed_over(&ran, Duration::from_millis(1900));
}

#[test]
fn a_refusal_whose_stream_is_reset_is_judged_by_what_arrived() {
    let upstream = frames::refusing(|stream| {
        stream.write(HEADERS, END_HEADERS, &status("401"))?;
        stream.write(DATA, 0, b"{\"error\":")?;
        stream.write(RST_STREAM, 0, &2_u32.to_be_bytes())
    });
    let ran = run(upstream.address, Protocol::Http2, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}

#[test]
fn endless_trailers_are_judged_by_what_arrived() {
    let upstream = frames::refusing(|stream| {
        stream.write(HEADERS, END_HEADERS, &status("401"))?;
        stream.write(HEADERS, END_STREAM, &header("a", "b"))?;
        loop {
            stream.write(CONTINUATION, 0, &header("a", "b").repeat(100))?;
        }
    });
    let ran = run(upstream.address, Protocol::Http2, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}

#[test]
fn trailers_after_trailers_are_judged_by_what_arrived() {
    let upstream = frames::refusing(|stream| {
        stream.write(HEADERS, END_HEADERS, &status("401"))?;
        stream.write(HEADERS, END_HEADERS, &header("a", "b"))?;
        stream.write(HEADERS, END_HEADERS, &header("a", "b"))
    });
    let ran = run(upstream.address, Protocol::Http2, ask);
    assert_failed_over(&ran, Duration::from_millis(900));
}
