//! Undoing a content encoding, for evidence.
//!
//! Whoever sends a body chooses its encoding and what it holds, so that every decoder here stops at
//! a limit of output and needs memory in proportion to that, whatever the input says of itself.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// More encodings on top of each other than this are nobody's honest answer.
const MAX_CODINGS: usize = 4;

/// At most `limit` bytes of what `body` holds, once the encodings that `headers` name are undone.
/// Of a body that was cut off, what can be had.
///
/// `None` where that cannot be done: an unknown encoding, or bytes that are not what it says.
pub(crate) fn decode<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    limit: usize,
) -> Option<Cow<'a, [u8]>> {
    let codings = codings(headers)?;
    if codings.len() > MAX_CODINGS {
        return None;
    }
    let mut decoded = Cow::Borrowed(body);
    // The last one named was put on last.
    for coding in codings.iter().rev() {
        decoded = Cow::Owned(undo(coding, &decoded, limit)?);
    }
    Some(cut(decoded, limit))
}

/// The encodings in the order in which they were put on, in lower case.
fn codings(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let names = value.to_str().ok()?.split(',').map(str::trim);
        let names = names.map(str::to_ascii_lowercase);
        codings.extend(names.filter(|name| !name.is_empty() && name != "identity"));
    }
    Some(codings)
}

fn cut(mut bytes: Cow<'_, [u8]>, limit: usize) -> Cow<'_, [u8]> {
    match &mut bytes {
        Cow::Borrowed(bytes) => *bytes = &bytes[..bytes.len().min(limit)],
        Cow::Owned(bytes) => bytes.truncate(limit),
    }
    bytes
}

#[cfg(not(feature = "providers"))]
fn undo(_: &str, _: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}

#[cfg(feature = "providers")]
use self::codecs::undo;

#[cfg(feature = "providers")]
mod codecs {
    use std::io::{ErrorKind, Read};

    use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
    use flate2::read::MultiGzDecoder;
    use flate2::{Decompress, FlushDecompress, Status};
    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    pub(super) fn undo(coding: &str, body: &[u8], limit: usize) -> Option<Vec<u8>> {
        match coding {
            "gzip" | "x-gzip" => gzip(body, limit),
            "deflate" => deflate(body, limit),
            "br" => brotli(body, limit),
            "zstd" => zstd(body, limit),
            _ => None,
        }
    }

    fn gzip(body: &[u8], limit: usize) -> Option<Vec<u8>> {
        let mut decoder = MultiGzDecoder::new(body).take(limit as u64);
        let mut decoded = Vec::new();
        match decoder.read_to_end(&mut decoded) {
            Ok(_) => Some(decoded),
            // An end in the middle is an end: what came before it stays.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Some(decoded),
            Err(_) => None,
        }
    }

    /// Zlib's format; or what that holds alone, which some send.
    fn deflate(body: &[u8], limit: usize) -> Option<Vec<u8>> {
        let inflate = |zlib| {
            let mut decoded = Vec::with_capacity(limit);
            let mut state = Decompress::new(zlib);
            let end = state.decompress_vec(body, &mut decoded, FlushDecompress::Finish);
            Some((end.ok()?, decoded))
        };
        if let Some((_, decoded)) = inflate(true) {
            return Some(decoded);
        }
        // Without a header or a checksum anything may look right for a while, so that this has to
        // come to its end, or to the limit.
        let (end, decoded) = inflate(false)?;
        (end == Status::StreamEnd || decoded.len() >= limit).then_some(decoded)
    }

    fn brotli(body: &[u8], limit: usize) -> Option<Vec<u8>> {
        let alloc = StandardAlloc::default;
        // Strict: without the extension by which a body may ask for a window of a gigabyte.
        let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
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
            _ => Some(decoded),
        }
    }

    /// An empty last block, and a checksum, which is not compared.
    const END: &[u8] = &[1, 0, 0, 0, 0, 0, 0];

    /// A sequence copies up to 128 KiB, and the decoder does not hold a block to the 128 KiB that
    /// it may have: this does. Enough for some 8 KiB of text in a block.
    const MAX_SEQUENCES: usize = 1024;

    fn zstd(mut body: &[u8], limit: usize) -> Option<Vec<u8>> {
        use FrameDecoderError::ReadFrameHeaderError as Header;
        use ReadFrameHeaderError::{BadMagicNumber, InvalidFrameDescriptor, SkipFrame};

        let mut decoded = Vec::new();
        while decoded.len() < limit {
            let mut frame = FrameDecoder::new();
            let mut blocks = body;
            match frame.init(&mut blocks) {
                Ok(()) => {}
                Err(Header(SkipFrame { length, .. })) => {
                    body = blocks.get(length as usize..).unwrap_or_default();
                    continue;
                }
                Err(Header(BadMagicNumber(_) | InvalidFrameDescriptor(_))) => return None,
                // The end, perhaps in the middle of a header.
                Err(Header(_)) => break,
                Err(_) => return None,
            }
            let (end, is_cut) = whole_blocks(blocks)?;
            // The decoder keeps what later blocks may refer to until it has seen the last one, so
            // that it is shown one wherever decoding stops.
            frame
                .decode_blocks(
                    blocks[..end].chain(END),
                    BlockDecodingStrategy::UptoBytes(limit),
                )
                .ok()?;
            if !frame.is_finished() {
                frame.decode_blocks(END, BlockDecodingStrategy::All).ok()?;
            }
            decoded.extend(frame.collect()?);
            if is_cut {
                break;
            }
            let read = usize::try_from(frame.bytes_read_from_source()).ok()?;
            body = body.get(read..).unwrap_or_default();
        }
        Some(decoded)
    }

    /// How many bytes the whole blocks at the start take, and whether the last one is missing.
    /// `None` where one holds too much.
    fn whole_blocks(body: &[u8]) -> Option<(usize, bool)> {
        let mut end = 0;
        while let Some(&[a, b, c]) = body.get(end..end + 3) {
            let header = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            let (is_last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
            // A block of one byte repeated.
            let size = if kind == 1 { 1 } else { size };
            let Some(block) = body.get(end + 3..end + 3 + size) else {
                break;
            };
            if kind == 2 && sequences(block)? > MAX_SEQUENCES {
                return None;
            }
            end += 3 + size;
            if is_last {
                return Some((end, false));
            }
        }
        Some((end, true))
    }

    /// How many sequences a compressed block says it holds: the number stands behind its literals.
    fn sequences(block: &[u8]) -> Option<usize> {
        let bits = |from: u32, count: u32| {
            let mut first = [0; 8];
            let len = block.len().min(8);
            first[..len].copy_from_slice(&block[..len]);
            (u64::from_le_bytes(first) >> from & ((1 << count) - 1)) as usize
        };
        // The header's length, and that of the literals as they stand there.
        let (header, literals) = match (bits(0, 2), bits(2, 2)) {
            (0, 0 | 2) => (1, bits(3, 5)),
            (0, 1) => (2, bits(4, 12)),
            (0, _) => (3, bits(4, 20)),
            (1, 0 | 2) => (1, 1),
            (1, 1) => (2, 1),
            (1, _) => (3, 1),
            (_, 0 | 1) => (3, bits(14, 10)),
            (_, 2) => (4, bits(18, 14)),
            (_, _) => (5, bits(22, 18)),
        };
        let count = block.get(header + literals..)?;
        let byte = |at: usize| count.get(at).copied().map(usize::from);
        Some(match byte(0)? {
            few @ 0..128 => few,
            255 => 0x7f00 + byte(1)? + (byte(2)? << 8),
            more => ((more - 128) << 8) + byte(1)?,
        })
    }
}

#[cfg(all(test, feature = "providers", not(tower_key_failover_loom)))]
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

    /// What an encoder has sent by the time that it was flushed, its end still to come.
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
        decode(&headers(codings), body, LIMIT)
    }

    /// Text that no encoding makes nothing of.
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
    fn a_body_that_is_not_encoded_is_lent_as_it_is() {
        assert!(matches!(
            decode(&HeaderMap::new(), b"text", 10),
            Some(Cow::Borrowed(b"text"))
        ));
        assert!(matches!(
            decode(&HeaderMap::new(), b"text", 2),
            Some(Cow::Borrowed(b"te"))
        ));
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
        assert_eq!(decode(&headers, &body, LIMIT).as_deref(), Some(&plain[..]));
    }

    #[test]
    fn what_cannot_be_undone_is_nothing() {
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
    fn of_a_body_that_was_cut_off_there_is_what_came() {
        let plain = prose(4 * 1024);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let whole = encode(coding, &plain);
            for len in [0, 1, 3, 7, whole.len() / 2, whole.len() - 1] {
                let part = decoded(coding, &whole[..len]);
                let part = part.unwrap_or_else(|| panic!("{coding} cut to {len}"));
                assert!(plain.starts_with(&part), "{coding} cut to {len}");
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
        }
    }

    #[test]
    fn a_bomb_gives_no_more_than_the_limit() {
        let zeros = vec![0; 32 * 1024 * 1024];
        for coding in CODINGS {
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
                    prop_assert!(decoded.len() <= limit);
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
                prop_assert!(decoded.is_none_or(|decoded| decoded.len() <= LIMIT));
            }
        }
    }
}
