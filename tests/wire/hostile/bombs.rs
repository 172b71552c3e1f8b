//! Refusals that are small on the wire and large when they are decoded.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use tower_key_failover::pool::KeyState;

use crate::hostile::gateway::{Protocol, run};
use crate::hostile::peer::{ASK, Upstream};

const MEGABYTES: usize = 8;

fn zeros_into(mut sink: impl Write) {
    for _ in 0..MEGABYTES {
        sink.write_all(&vec![0; 1 << 20]).unwrap();
    }
}

fn gzip() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    zeros_into(&mut encoder);
    encoder.finish().unwrap()
}

fn deflate() -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    zeros_into(&mut encoder);
    encoder.finish().unwrap()
}

fn brotli() -> Vec<u8> {
    let mut encoded = Vec::new();
    zeros_into(brotli::CompressorWriter::new(&mut encoded, 4096, 5, 22));
    encoded
}

fn zstd() -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    zeros_into(&mut encoder);
    encoder.finish().unwrap()
}

/// Sends a bomb as a refusal.
fn defuse(encoding: &'static str, bomb: &[u8]) {
    let head = format!(
        "HTTP/1.1 401 Unauthorized\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let refusal = [head.as_bytes(), bomb].concat();
    let upstream = Upstream::refusing(move |peer| drop(peer.write(&refusal)));
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        peer.write(ASK).unwrap();
        peer.read_head()
    });
    assert!(ran.client.starts_with("HTTP/1.1 200 OK"), "{}", ran.client);
    assert_eq!(ran.states, [KeyState::Permanent, KeyState::Valid]);
    assert!(ran.elapsed < Duration::from_secs(2), "{:?}", ran.elapsed);
    // A window of 4 MiB is what brotli takes, however little it is to yield.
    assert!(
        ran.most < 6 << 20,
        "{encoding}: {} bytes were held",
        ran.most
    );
}

#[test]
fn in_gzip() {
    defuse("gzip", &gzip());
}

#[test]
fn in_deflate() {
    defuse("deflate", &deflate());
}

#[test]
fn in_brotli() {
    defuse("br", &brotli());
}

#[test]
fn in_zstd() {
    defuse("zstd", &zstd());
}

/// Whoever decodes it is to keep 128 MiB.
#[test]
fn in_zstd_with_a_large_window() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    zeros_into(&mut encoder);
    defuse("zstd", &encoder.finish().unwrap());
}

#[test]
fn in_gzip_within_gzip() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&gzip()).unwrap();
    defuse("gzip, gzip", &encoder.finish().unwrap());
}
