//! Overwriting a key that a provider echoes, by `*` of equal length.

use http::{HeaderMap, HeaderName};

#[cfg(feature = "grpc")]
use crate::binary;

/// Overwrites each occurrence of `secret`, in gRPC's binary metadata as well.
pub(crate) fn redact_headers(headers: &mut HeaderMap, secret: &str) {
    let secret = secret.as_bytes();
    for (name, value) in headers.iter_mut() {
        let mut text = value.as_bytes().to_vec();
        if overwrite(&mut text, secret) || overwrite_binary(name, &mut text, secret) {
            *value = text.try_into().expect("as legal as it was");
        }
    }
}

#[cfg(feature = "grpc")]
fn overwrite_binary(name: &HeaderName, value: &mut Vec<u8>, secret: &[u8]) -> bool {
    if !name.as_str().ends_with("-bin") {
        return false;
    }
    let mut found = false;
    let redacted: Vec<_> = binary::decode_each(value)
        .map(|bytes| {
            let mut bytes = bytes.unwrap_or_default();
            found |= overwrite(&mut bytes, secret);
            binary::encode(&bytes)
        })
        .collect();
    if found {
        *value = redacted.join(",").into_bytes();
    }
    found
}

#[cfg(not(feature = "grpc"))]
fn overwrite_binary(_: &HeaderName, _: &mut Vec<u8>, _: &[u8]) -> bool {
    false
}

pub(super) fn find(text: &[u8], secret: &[u8]) -> Option<usize> {
    text.windows(secret.len())
        .position(|window| window == secret)
}

/// Overwrites each occurrence of `secret`, and says whether there was one.
pub(super) fn overwrite(text: &mut [u8], secret: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = find(&text[from..], secret) {
        text[from + at..][..secret.len()].fill(b'*');
        from += at + secret.len();
    }
    from > 0
}
