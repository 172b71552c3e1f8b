//! Undoes content encodings, so that policies can read encoded bodies.
//!
//! The sender chooses the encoding and the content, so every decoder here has a limit for its
//! output and its memory, whatever the input claims.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// No honest response has more encodings than this.
const MAX_CODINGS: usize = 4;

/// The decoded start of a body.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Whether this is everything that the body contains. `false` above the limit, and for encoded
    /// input that ends early.
    pub(crate) is_complete: bool,
}

/// Decodes at most `limit` bytes of `body`, whose encodings `headers` name. If encoded
/// input ends early, the part that exists is decoded.
///
/// `None` for an unknown encoding or malformed input, and for input that needs too much memory.
pub(crate) fn decode<'a>(headers: &HeaderMap, body: &'a [u8], limit: usize) -> Option<Decoded<'a>> {
    let codings = codings(headers)?;
    if codings.len() > MAX_CODINGS {
        return None;
    }
    // A response without a body often names an encoding, too.
    let codings = if body.is_empty() { &[][..] } else { &codings };
    let mut decoded = Decoded {
        bytes: Cow::Borrowed(body),
        is_complete: true,
    };
    // The last named encoding was applied last.
    for coding in codings.iter().rev() {
        let (bytes, is_complete) = undo(coding, &decoded.bytes, limit)?;
        decoded.bytes = Cow::Owned(bytes);
        decoded.is_complete &= is_complete;
    }
    decoded.is_complete &= decoded.bytes.len() < limit;
    match &mut decoded.bytes {
        Cow::Borrowed(bytes) => *bytes = &bytes[..bytes.len().min(limit)],
        Cow::Owned(bytes) => bytes.truncate(limit),
    }
    Some(decoded)
}

/// The encodings in the order in which they were applied, in lower case.
fn codings(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let names = value.to_str().ok()?.split(',').map(str::trim);
        let names = names.map(str::to_ascii_lowercase);
        codings.extend(names.filter(|name| !name.is_empty() && name != "identity"));
    }
    Some(codings)
}

#[cfg(not(feature = "decompress"))]
fn undo(_: &str, _: &[u8], _: usize) -> Option<(Vec<u8>, bool)> {
    None
}

#[cfg(feature = "decompress")]
use self::codecs::undo;

#[cfg(feature = "decompress")]
mod codecs {
    use std::io::{ErrorKind, Read};

    use brotli_decompressor::{
        Allocator, BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc,
    };
    use flate2::read::MultiGzDecoder;
    use flate2::{Decompress, FlushDecompress, Status};
    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    /// How far a body may refer back. Decoders allocate this much. The error bodies of providers
    /// need far less.
    const MAX_WINDOW: usize = 1 << 20;

    /// Each zstd frame takes a decoder of its own. Encoders write one frame.
    const MAX_FRAMES: usize = 16;

    /// At most about `limit` bytes, and whether the input was decoded to its end.
    pub(super) fn undo(coding: &str, body: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
        match coding {
            "gzip" | "x-gzip" => gzip(body, limit),
            "deflate" => deflate(body, limit),
            "br" => brotli(body, limit),
            "zstd" => zstd(body, limit),
            _ => None,
        }
    }

    fn gzip(body: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
        let mut decoder = MultiGzDecoder::new(body).take(limit as u64);
        let mut decoded = Vec::new();
        match decoder.read_to_end(&mut decoded) {
            Ok(_) => {
                let is_complete = decoded.len() < limit;
                Some((decoded, is_complete))
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Some((decoded, false)),
            Err(_) => None,
        }
    }

    /// Zlib's format, or raw deflate, which some servers send.
    fn deflate(body: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
        let inflate = |zlib| {
            let mut decoded = Vec::with_capacity(limit);
            let mut state = Decompress::new(zlib);
            let end = state.decompress_vec(body, &mut decoded, FlushDecompress::Finish);
            Some((decoded, end.ok()? == Status::StreamEnd))
        };
        if let Some(zlib) = inflate(true) {
            return Some(zlib);
        }
        // Without a header and a checksum, any input can look right for a while. So this has to
        // reach the end or the limit.
        let (decoded, is_complete) = inflate(false)?;
        (is_complete || decoded.len() >= limit).then_some((decoded, is_complete))
    }

    fn brotli(body: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
        let alloc = StandardAlloc::default;
        // Strict: without the extension that allows windows of a gigabyte.
        let mut state = BrotliState::new_strict(LimitedAlloc(alloc()), alloc(), alloc());
        let mut decoded = vec![0; limit];
        let (mut left, mut read, mut room, mut written) = (body.len(), 0, limit, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            body,
            &mut room,
            &mut written,
            &mut decoded,
            &mut 0,
            &mut state,
        );
        decoded.truncate(written);
        match result {
            BrotliResult::ResultFailure => None,
            result => Some((decoded, matches!(result, BrotliResult::ResultSuccess))),
        }
    }

    /// Allocates no buffer above [`MAX_WINDOW`], whose size the body chooses.
    #[derive(Default)]
    struct LimitedAlloc(StandardAlloc);

    type Memory = <StandardAlloc as Allocator<u8>>::AllocatedMemory;

    impl Allocator<u8> for LimitedAlloc {
        type AllocatedMemory = Memory;

        /// An empty buffer makes the decoder fail.
        fn alloc_cell(&mut self, len: usize) -> Memory {
            // The decoder adds some bytes of slack.
            if len > MAX_WINDOW + 1024 {
                return Memory::default();
            }
            self.0.alloc_cell(len)
        }

        fn free_cell(&mut self, memory: Memory) {
            <StandardAlloc as Allocator<u8>>::free_cell(&mut self.0, memory);
        }
    }

    /// An empty last block and an unused checksum.
    const LAST_BLOCK: &[u8] = &[1, 0, 0, 0, 0, 0, 0];

    fn zstd(mut body: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
        use FrameDecoderError::ReadFrameHeaderError as Header;
        use ReadFrameHeaderError::{BadMagicNumber, InvalidFrameDescriptor, SkipFrame};

        let mut decoded = Vec::new();
        for _ in 0..MAX_FRAMES {
            if decoded.len() >= limit || body.is_empty() {
                break;
            }
            let mut frame = FrameDecoder::new();
            frame.set_max_window_size(MAX_WINDOW as u64);
            match frame.init(&mut body) {
                Ok(()) => {}
                Err(Header(SkipFrame { length, .. })) => {
                    let Some(rest) = body.get(length as usize..) else {
                        return Some((decoded, false));
                    };
                    body = rest;
                    continue;
                }
                Err(Header(BadMagicNumber(_) | InvalidFrameDescriptor(_))) => return None,
                // The input ends in a header.
                Err(Header(_)) => return Some((decoded, false)),
                Err(_) => return None,
            }
            let up_to_limit = BlockDecodingStrategy::UptoBytes(limit);
            match frame.decode_blocks(&mut body, up_to_limit) {
                Ok(_) => {}
                // The input ends in a block.
                Err(_) if body.is_empty() => {}
                Err(_) => return None,
            }
            let is_finished = frame.is_finished();
            if !is_finished {
                // The decoder keeps what further blocks could refer to until the last one.
                let last = BlockDecodingStrategy::UptoBlocks(1);
                frame.decode_blocks(LAST_BLOCK, last).ok()?;
            }
            decoded.extend(frame.collect()?);
            if !is_finished {
                return Some((decoded, false));
            }
        }
        Some((decoded, body.is_empty()))
    }
}

#[cfg(all(test, feature = "decompress", not(tower_key_failover_loom)))]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::CompressionLevel;

    use super::*;

    const LIMIT: usize = 64 * 1024;
    const CODINGS: [&str; 5] = ["gzip", "deflate", "raw deflate", "br", "zstd"];

    fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        let level = Compression::default();
        match coding {
            "gzip" | "x-gzip" => GzEncoder::new(plain, level)
                .read_to_end(&mut encoded)
                .unwrap(),
            "deflate" => ZlibEncoder::new(plain, level)
                .read_to_end(&mut encoded)
                .unwrap(),
            "raw deflate" => DeflateEncoder::new(plain, level)
                .read_to_end(&mut encoded)
                .unwrap(),
            "br" => {
                let mut writer = brotli::CompressorWriter::new(&mut encoded, 4096, 5, 22);
                writer.write(plain).unwrap()
            }
            "zstd" => {
                ruzstd::encoding::compress(plain, &mut encoded, CompressionLevel::Fastest);
                0
            }
            other => panic!("no such coding: {other}"),
        };
        encoded
    }

    /// What an encoder has sent after a flush, without its end.
    fn flushed(coding: &str, plain: &[u8]) -> Vec<u8> {
        fn flush<W: Write>(mut writer: W, plain: &[u8]) -> W {
            writer.write_all(plain).unwrap();
            writer.flush().unwrap();
            writer
        }
        let sent = Vec::new();
        match coding {
            "gzip" => {
                let writer = flate2::write::GzEncoder::new(sent, Compression::fast());
                flush(writer, plain).get_ref().clone()
            }
            "br" => {
                let writer = brotli::CompressorWriter::new(sent, 4096, 5, 22);
                flush(writer, plain).get_ref().clone()
            }
            // A frame with a window of 1 MiB, and one raw block, which is not the last.
            _ => {
                let block = u32::try_from(plain.len() << 3).unwrap().to_le_bytes();
                let header = [0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
                [&header, &block[..3], plain].concat()
            }
        }
    }

    fn headers(codings: &str) -> HeaderMap {
        let codings = codings.replace("raw ", "");
        HeaderMap::from_iter([(CONTENT_ENCODING, codings.parse().unwrap())])
    }

    fn decoded<'a>(codings: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        decode(&headers(codings), body, LIMIT).map(|decoded| decoded.bytes)
    }

    fn is_complete(codings: &str, body: &[u8]) -> bool {
        decode(&headers(codings), body, LIMIT).unwrap().is_complete
    }

    /// Text that does not compress to nothing.
    fn prose(len: usize) -> Vec<u8> {
        let mut seed = 1_u32;
        std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"etaoin shrdlu{}:"[(seed >> 28) as usize]
        })
        .take(len)
        .collect()
    }

    #[test]
    fn a_body_without_an_encoding_is_borrowed() {
        for (limit, expected) in [(10, &b"text"[..]), (2, b"te")] {
            let decoded = decode(&HeaderMap::new(), b"text", limit).unwrap();
            assert!(matches!(decoded.bytes, Cow::Borrowed(bytes) if bytes == expected));
            assert_eq!(decoded.is_complete, limit == 10);
        }
        assert!(matches!(
            decoded("identity", b"text"),
            Some(Cow::Borrowed(b"text"))
        ));
        assert!(matches!(decoded("", b"text"), Some(Cow::Borrowed(b"text"))));
    }

    #[test]
    fn every_vector_is_read_in_every_encoding() {
        let vectors = include_str!("../../tests/conformance/provider_vectors.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
        for vector in vectors {
            let plain = vector["body"].to_string().into_bytes();
            for coding in CODINGS {
                let encoded = encode(coding, &plain);
                assert_eq!(
                    decoded(coding, &encoded).as_deref(),
                    Some(&plain[..]),
                    "{coding}"
                );
            }
        }
    }

    #[test]
    fn several_encodings_are_undone_in_turn() {
        let plain = prose(1000);
        let body = encode("br", &encode("gzip", &plain));
        assert_eq!(decoded("gzip, br", &body).as_deref(), Some(&plain[..]));
        assert_eq!(
            decoded("X-GZip , identity,BR", &body).as_deref(),
            Some(&plain[..])
        );
        assert_eq!(decoded("br, gzip", &body), None);

        let mut headers = headers("gzip");
        headers.append(CONTENT_ENCODING, "br".parse().unwrap());
        let decoded = decode(&headers, &body, LIMIT).unwrap();
        assert_eq!(
            (&decoded.bytes[..], decoded.is_complete),
            (&plain[..], true)
        );
    }

    #[test]
    fn unknown_encodings_and_malformed_bodies_are_not_decoded() {
        for coding in ["compress", "aes128gcm", "gzip, snappy", "\u{fffd}"] {
            assert_eq!(decoded(coding, b"text"), None, "{coding}");
        }
        assert_eq!(decoded("gzip, gzip, gzip, gzip, gzip", b"text"), None);
        for coding in CODINGS {
            assert_eq!(
                decoded(coding, b"{\"error\":{\"code\":429}}"),
                None,
                "{coding}"
            );
        }
    }

    #[test]
    fn the_part_of_a_body_that_arrived_is_decoded_and_incomplete() {
        let plain = prose(4 * 1024);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let whole = encode(coding, &plain);
            for len in [0, 1, 3, 7, whole.len() / 2, whole.len() - 1] {
                let part = decoded(coding, &whole[..len]);
                let part = part.unwrap_or_else(|| panic!("{coding} cut to {len}"));
                assert!(plain.starts_with(&part), "{coding} cut to {len}");
                // Without a single byte, zstd and brotli differ.
                assert!(
                    len == 0 || !is_complete(coding, &whole[..len]),
                    "{coding} cut to {len}"
                );
            }
        }
        // Encoders that flush after an event let each be read at once.
        for coding in ["gzip", "br", "zstd"] {
            let body = flushed(coding, &plain);
            assert_eq!(
                decoded(coding, &body).as_deref(),
                Some(&plain[..]),
                "{coding}"
            );
            assert!(!is_complete(coding, &body), "{coding}");
        }
    }

    #[test]
    fn a_body_above_the_limit_is_incomplete() {
        for coding in CODINGS {
            assert!(
                is_complete(coding, &encode(coding, &prose(LIMIT - 1))),
                "{coding}"
            );
            assert!(
                !is_complete(coding, &encode(coding, &prose(LIMIT + 1))),
                "{coding}"
            );
        }
    }

    #[test]
    fn a_body_that_refers_back_far_is_not_decoded() {
        // In brotli, a block of 16 MiB needs a buffer of that size.
        assert_eq!(decoded("br", &encode("br", &vec![0; 16 << 20])), None);
        // A zstd frame with a window of 2 MiB, and an empty last block.
        let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, window << 3, 1, 0, 0];
        assert_eq!(decoded("zstd", &frame(10)).as_deref(), Some(&b""[..]));
        assert_eq!(decoded("zstd", &frame(11)), None);
    }

    #[test]
    fn endless_tiny_zstd_frames_are_incomplete() {
        let frame = encode("zstd", b"x");
        let (few, many) = (frame.repeat(16), frame.repeat(1_000));
        assert_eq!(decoded("zstd", &few).unwrap().len(), 16);
        assert!(is_complete("zstd", &few));
        assert!(decoded("zstd", &many).unwrap().len() <= 16);
        assert!(!is_complete("zstd", &many));
    }

    #[test]
    fn a_bomb_gives_no_more_than_the_limit() {
        let zeros = vec![0; 32 * 1024 * 1024];
        for coding in CODINGS.into_iter().filter(|coding| *coding != "br") {
            let bomb = encode(coding, &zeros);
            assert_eq!(
                decoded(coding, &bomb).map(|bytes| bytes.len()),
                Some(LIMIT),
                "{coding}"
            );
            let nested = encode(coding, &bomb);
            let twice = format!("{coding}, {coding}");
            assert_eq!(
                decoded(&twice, &nested).map(|bytes| bytes.len()),
                Some(LIMIT),
                "{coding}"
            );
        }
    }

    #[test]
    fn frames_and_members_one_after_another_are_one_body() {
        let plain = prose(500);
        for coding in ["gzip", "zstd"] {
            let mut body = encode(coding, &plain[..200]);
            if coding == "zstd" {
                body.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
            }
            body.extend(encode(coding, &plain[200..]));
            assert_eq!(
                decoded(coding, &body).as_deref(),
                Some(&plain[..]),
                "{coding}"
            );
        }
    }

    #[test]
    fn a_zstd_block_with_endless_copies_is_refused() {
        // A literal, then copies of 128 KiB each, all with one code: two bytes of input for each.
        let copies: u16 = 30_000;
        let mut block = vec![0b1000, b'x', 255];
        block.extend((copies - 0x7f00_u16.min(copies)).to_le_bytes());
        block.extend([0b0101_0100, 0, 0, 52]);
        block.resize(block.len() + usize::from(copies) * 2, 0xff);
        let mut body = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        let header = (block.len() as u32) << 3 | 0b101;
        body.extend(&header.to_le_bytes()[..3]);
        body.extend(block);
        assert_eq!(decoded("zstd", &body), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            body in prop::collection::vec(any::<u8>(), 0..2000),
            limit in 0_usize..5000,
        ) {
            for coding in CODINGS {
                if let Some(decoded) = decode(&headers(coding), &body, limit) {
                    prop_assert!(decoded.bytes.len() <= limit);
                }
            }
        }

        #[test]
        fn damaged_bodies_never_panic(
            len in 1_usize..3000,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            for coding in CODINGS {
                let mut body = encode(coding, &prose(len));
                for (at, byte) in &damage {
                    let at = at.index(body.len());
                    body[at] = *byte;
                }
                let decoded = decode(&headers(coding), &body, LIMIT);
                prop_assert!(decoded.is_none_or(|decoded| decoded.bytes.len() <= LIMIT));
            }
        }
    }
}
