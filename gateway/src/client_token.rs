//! Finds the client token in a request, and removes it.
//!
//! The token is not a key of the provider. It is removed before the policy decides whether the request
//! brings its own key, wherever a client may send a credential:
//!
//! - in any header, alone or after a scheme such as `Bearer`, because each provider's SDK uses its own
//!   header;
//! - as the user name or the password of `Basic`;
//! - in any parameter of the query;
//! - as a WebSocket subprotocol, alone or after a prefix such as `openai-insecure-api-key.`, because
//!   browsers cannot send it anywhere else.

use axum::http::Uri;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::request;
use axum::http::uri::PathAndQuery;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// Shorter tokens are not searched for in the middle of other headers, where they may occur by chance.
const MIN_SEARCHED: usize = 8;

/// Removes the token from the request, and returns whether it was there.
pub fn take(head: &mut request::Parts, token: &SecretString) -> bool {
    let token = token.expose_secret().as_bytes();
    let in_protocols = take_from_protocols(&mut head.headers, token);
    let in_headers = remove_values(&mut head.headers, |value| presents(value, token));
    let in_query = take_from_query(&mut head.uri, token);
    let is_present = in_protocols || in_headers || in_query;
    // Only now, because the search takes a time that depends on the token.
    if is_present && token.len() >= MIN_SEARCHED {
        // For example, the query can be in `referer`.
        remove_values(&mut head.headers, |value| {
            value.windows(token.len()).any(|part| part == token)
        });
    }
    is_present
}

fn is_token(value: &[u8], token: &[u8]) -> bool {
    value.ct_eq(token).into()
}

/// Whether the value of a header is the token, with or without a scheme.
fn presents(value: &[u8], token: &[u8]) -> bool {
    let value = value.trim_ascii();
    if is_token(value, token) {
        return true;
    }
    let Some(end) = value.iter().position(u8::is_ascii_whitespace) else {
        return false;
    };
    let (scheme, credential) = (&value[..end], value[end..].trim_ascii());
    is_token(credential, token)
        || (scheme.eq_ignore_ascii_case(b"basic") && is_in_basic(credential, token))
}

/// Whether the token is the user name or the password of `Basic`.
fn is_in_basic(credential: &[u8], token: &[u8]) -> bool {
    let padding = credential.iter().rev().take_while(|&&byte| byte == b'=');
    let digits = &credential[..credential.len() - padding.count()];
    let Ok(pair) = STANDARD_NO_PAD.decode(digits) else {
        return false;
    };
    // A user name contains no colon, but a token used as one may.
    let colons = (0..pair.len()).filter(|&at| pair[at] == b':');
    let mut parts = colons.flat_map(|at| [&pair[..at], &pair[at + 1..]]);
    is_token(&pair, token) || parts.any(|part| is_token(part, token))
}

/// Removes the values that match, and returns whether there were any.
fn remove_values(headers: &mut HeaderMap, matches: impl Fn(&[u8]) -> bool) -> bool {
    let found = headers
        .iter()
        .filter(|(_, value)| matches(value.as_bytes()))
        .map(|(name, _)| name.clone());
    let found: Vec<HeaderName> = found.collect();
    for name in &found {
        let values = headers.get_all(name).into_iter();
        let kept: Vec<_> = values
            .filter(|value| !matches(value.as_bytes()))
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

/// Removes the parameters whose value is the token. A query without them is unchanged.
fn take_from_query(uri: &mut Uri, token: &[u8]) -> bool {
    let presents = |item: &&str| {
        let value = item.split_once('=').map_or(*item, |(_, value)| value);
        is_token(value.as_bytes(), token) || is_token(&decoded(value), token)
    };
    let items = uri.query().into_iter().flat_map(|query| query.split('&'));
    let (presented, kept): (Vec<_>, Vec<_>) = items.partition(presents);
    if presented.is_empty() {
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

/// A value of the query without percent-encoding.
fn decoded(value: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(&value.replace('+', " ")).collect()
}
