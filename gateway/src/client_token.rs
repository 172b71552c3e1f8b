//! Finds the client token in a request, and removes it.
//!
//! The token is not a key of the provider. It is removed before the policy decides whether the request
//! brings its own key, wherever a client may send a credential:
//!
//! - in any header, alone, after a scheme such as `Bearer`, or as a word of a list or of parameters, such
//!   as `Credential=TOKEN/...`, because each provider's SDK uses its own header. A cookie is no credential,
//!   because browsers send it with requests of other sites;
//! - as the user name or the password of `Basic`;
//! - in any parameter of the query;
//! - as a WebSocket subprotocol, alone or after a prefix such as `openai-insecure-api-key.`, because
//!   browsers cannot send it anywhere else.
//!
//! Copies in other places are removed as well, but give no access: within a longer word, and in trailers.

use axum::http::Uri;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::request;
use axum::http::uri::PathAndQuery;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// Shorter tokens are not searched for within other values, where they may occur by chance.
const MIN_SEARCHED: usize = 8;

/// Reads what lenient decoders read.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT: GeneralPurposeConfig = NO_PAD.with_decode_allow_trailing_bits(true);

/// Removes the token from the request, and returns whether it gives access.
pub fn take(head: &mut request::Parts, token: &SecretString) -> bool {
    let token = token.expose_secret().as_bytes();
    let in_protocols = take_from_protocols(&mut head.headers, token);
    let in_headers = remove_values(&mut head.headers, |name, value| {
        *name != header::COOKIE && presents(value, token)
    });
    let in_query = take_from_query(&mut head.uri, |value| presents(value, token));
    let is_presented = in_protocols || in_headers || in_query;
    // For example, the query can be in `referer`.
    let contains = |value: &[u8]| contains(value, token, is_presented);
    remove_values(&mut head.headers, |_, value| contains(value));
    take_from_query(&mut head.uri, contains);
    is_presented
}

/// Removes the trailers of a request that contain the token.
pub fn remove_from_trailers(trailers: &mut HeaderMap, token: &SecretString) {
    let token = token.expose_secret().as_bytes();
    remove_values(trailers, |_, value| {
        presents(value, token) || contains(value, token, false)
    });
}

fn is_token(value: &[u8], token: &[u8]) -> bool {
    value.ct_eq(token).into()
}

/// Whether a value is the token, with or without a scheme, or contains it as a word.
fn presents(value: &[u8], token: &[u8]) -> bool {
    let Some(last) = value.len().checked_sub(token.len()) else {
        return false;
    };
    let is_long = token.len() >= MIN_SEARCHED;
    let is_end = |byte: Option<&u8>| {
        byte.is_none_or(|it| it.is_ascii_whitespace() || (is_long && b",;=\"/".contains(it)))
    };
    let is_word = |&at: &usize| {
        is_end(at.checked_sub(1).map(|before| &value[before]))
            && is_end(value.get(at + token.len()))
    };
    let mut words = (0..=last).filter(is_word);
    words.any(|at| is_token(&value[at..at + token.len()], token)) || is_in_basic(value, token)
}

/// Whether a long token is anywhere in a value. The search may take a time that depends on the token if
/// the client is known to have it.
fn contains(value: &[u8], token: &[u8], is_known: bool) -> bool {
    token.len() >= MIN_SEARCHED
        && value.windows(token.len()).any(|part| match is_known {
            true => part == token,
            false => is_token(part, token),
        })
}

/// Whether the token is the user name or the password of `Basic`.
fn is_in_basic(value: &[u8], token: &[u8]) -> bool {
    let value = value.trim_ascii();
    let Some((scheme, credential)) = value.split_at_checked("basic ".len()) else {
        return false;
    };
    if !scheme.trim_ascii_end().eq_ignore_ascii_case(b"basic") {
        return false;
    }
    // Some clients use the alphabet for URLs.
    let digits = credential.iter().filter(|byte| !b" \t=".contains(byte));
    let digits: Vec<u8> = digits
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        })
        .collect();
    let Ok(pair) = BASE64.decode(digits) else {
        return false;
    };
    // A user name contains no colon, but a token used as one may.
    let colons = (0..pair.len()).filter(|&at| pair[at] == b':');
    let mut parts = colons.flat_map(|at| [&pair[..at], &pair[at + 1..]]);
    is_token(&pair, token) || parts.any(|part| is_token(part, token))
}

/// Removes the values that match, and returns whether there were any.
fn remove_values(headers: &mut HeaderMap, matches: impl Fn(&HeaderName, &[u8]) -> bool) -> bool {
    let found = headers
        .iter()
        .filter(|(name, value)| matches(name, value.as_bytes()))
        .map(|(name, _)| name.clone());
    let found: Vec<HeaderName> = found.collect();
    for name in &found {
        let values = headers.get_all(name).into_iter();
        let kept: Vec<_> = values
            .filter(|value| !matches(name, value.as_bytes()))
            .cloned()
            .collect();
        headers.remove(name);
        for value in kept {
            headers.append(name, value);
        }
    }
    !found.is_empty()
}

fn take_from_protocols(headers: &mut HeaderMap, token: &[u8]) -> bool {
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    if !headers.contains_key(&name) {
        return false;
    }
    let presents = |item: &&str| {
        let item = item.as_bytes();
        let from = item.len().saturating_sub(token.len());
        is_token(&item[from..], token) && item[..from].last().is_none_or(|&byte| byte == b'.')
    };
    let values = headers.get_all(&name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(',')).map(str::trim);
    let (presented, kept): (Vec<_>, Vec<_>) = items.partition(presents);
    if presented.is_empty() {
        return false;
    }
    match HeaderValue::from_str(&kept.join(", ")) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(name, kept)),
        _ => drop(headers.remove(name)),
    }
    true
}

/// Removes the parameters that match, encoded or decoded. A query without them is unchanged.
fn take_from_query(uri: &mut Uri, matches: impl Fn(&[u8]) -> bool) -> bool {
    let is_taken = |item: &&str| {
        let value = item.split_once('=').map_or(*item, |(_, value)| value);
        matches(value.as_bytes()) || matches(&decoded(value)) || matches(&decoded(item))
    };
    let items = uri.query().into_iter().flat_map(|query| query.split('&'));
    let (taken, kept): (Vec<_>, Vec<_>) = items.partition(is_taken);
    if taken.is_empty() {
        return false;
    }
    let target = match kept.join("&") {
        rest if rest.is_empty() => uri.path().to_owned(),
        rest => format!("{}?{rest}", uri.path()),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // A legal query without some of its parameters is legal.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    true
}

/// A part of the query without percent-encoding.
fn decoded(part: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(&part.replace('+', " ")).collect()
}
