//! Refusals that are small on the wire and large when they are decoded.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use tower_key_failover::pool::KeyState;

use crate::hostile::gateway::{Protocol, run};
use crate::hostile::peer::{ASK, Upstream};

const MEGABYTES: usize = 8;

/// The size of a window as zstd writes it: an exponent from 10, in the upper five bits.
const ONE_MEGABYTE: u8 = 10 << 3;
const ONE_HUNDRED_MEGABYTES: u8 = 17 << 3;

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

/// A frame of blocks that repeat one byte, 128 KiB each.
fn zstd(window: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let blocks = (MEGABYTES << 20) / (128 << 10);
    for block in 1..=blocks {
        let is_last = usize::from(block == blocks);
        let header = (128 << 10) << 3 | 1 << 1 | is_last;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
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
fn a_decompression_bomb_in_gzip_is_bounded() {
    defuse("gzip", &gzip());
}

#[test]
fn a_decompression_bomb_in_deflate_is_bounded() {
    defuse("deflate", &deflate());
}

#[test]
fn a_decompression_bomb_in_brotli_is_bounded() {
    defuse("br", &brotli());
}

#[test]
fn a_decompression_bomb_in_zstd_is_bounded() {
    defuse("zstd", &zstd(ONE_MEGABYTE));
}

/// Whoever decodes it is to keep 128 MiB.
#[test]
fn a_decompression_bomb_in_zstd_with_a_large_window_is_bounded() {
    defuse("zstd", &zstd(ONE_HUNDRED_MEGABYTES));
}

#[test]
fn a_decompression_bomb_in_gzip_within_gzip_is_bounded() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&gzip()).unwrap();
    defuse("gzip, gzip", &encoder.finish().unwrap());
}
