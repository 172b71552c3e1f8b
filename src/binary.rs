//! gRPC's binary metadata: base64 in headers whose names end in `-bin`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Senders pad or not; receivers have to take both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The decoded values of a header, which can contain several. `None` is a value that is not valid
/// base64.
pub(crate) fn decode_each(header: &[u8]) -> impl Iterator<Item = Option<Vec<u8>>> {
    let values = header.split(|&byte| byte == b',');
    values.map(|value| BASE64.decode(value.trim_ascii()).ok())
}
