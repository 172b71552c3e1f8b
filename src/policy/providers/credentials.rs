//! The places of a request in which a credential may stand: finding a caller's own there, and
//! clearing them before a key of the pool goes in.

use http::header::{GetAll, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri, request};

use super::dialect::Dialect;

/// Removed for every provider: a client that talks to several may send any of them.
const SHARED: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

/// Every credential in a place where the provider accepts one, without its scheme. `header` is
/// where a key of ours would go, `lengths` are those of the headers in which one is accepted.
pub(super) fn presented<'a>(
    request: &'a request::Parts,
    header: &'a HeaderName,
    dialect: &'static Dialect,
    lengths: Lengths,
) -> impl Iterator<Item = &'a [u8]> {
    let in_header = |name: &'a str, values: GetAll<'a, HeaderValue>| {
        values.into_iter().map(move |value| match name {
            "authorization" => after_scheme(value.as_bytes()),
            _ => value.as_bytes(),
        })
    };
    let headers = &request.headers;
    let in_headers = move || {
        let in_own = in_header(header.as_str(), headers.get_all(header));
        let accepts = dialect.accepts.iter();
        in_own.chain(accepts.flat_map(move |name| in_header(name, headers.get_all(*name))))
    };
    let in_headers = headers
        .keys()
        .any(|name| lengths.is_one(name))
        .then(in_headers);
    let in_query = items(&request.uri)
        .filter(|item| is_named(item, dialect.accepts_in_query))
        .filter_map(|item| Some(item.split_once('=')?.1.as_bytes()));
    in_headers
        .into_iter()
        .flatten()
        .chain(in_query)
        .map(<[u8]>::trim_ascii)
        .filter(|credential| !credential.is_empty())
}

/// What follows the scheme. A known scheme alone brings nothing.
fn after_scheme(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.iter().position(u8::is_ascii_whitespace) {
        Some(at) => &value[at..],
        None if value.eq_ignore_ascii_case(b"bearer") => &[],
        None => value,
    }
}

/// The lengths of some names, a bit for each: most other names are told by theirs.
#[derive(Clone, Copy)]
pub(super) struct Lengths(u64);

impl Lengths {
    /// Of the headers in which the provider accepts a credential.
    pub(super) fn accepted(header: &HeaderName, dialect: &Dialect) -> Self {
        Self::of(dialect.accepts.iter().copied().chain([header.as_str()]))
    }

    /// Of what [`remove`] takes away, or takes something out of.
    pub(super) fn removed(dialect: &Dialect) -> Self {
        let names = [&SHARED, dialect.accepts, dialect.removes];
        let lists = dialect.removes_items.iter().map(|(list, _)| *list);
        Self::of(names.into_iter().flatten().copied().chain(lists))
    }

    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.fold(0, |lengths, name| lengths | Self::bit(name)))
    }

    fn is_one(self, name: &HeaderName) -> bool {
        self.0 & Self::bit(name.as_str()) != 0
    }

    fn bit(name: &str) -> u64 {
        1 << (name.len() % 64)
    }
}

/// Removes whatever the provider, or any other, takes for a credential, and what belongs to it.
pub(super) fn remove(request: &mut request::Parts, dialect: &Dialect, lengths: Lengths) {
    let headers = &mut request.headers;
    let goes = |name: &str| {
        let lists = [&SHARED, dialect.accepts, dialect.removes];
        lists.iter().any(|names| names.contains(&name))
    };
    let holds_items = |name: &str| dialect.removes_items.iter().any(|(list, _)| *list == name);
    // One look through the names that are there is cheaper than asking for each that may be.
    let (mut any_goes, mut any_holds_items) = (false, false);
    for name in headers.keys().filter(|name| lengths.is_one(name)) {
        any_goes |= goes(name.as_str());
        any_holds_items |= holds_items(name.as_str());
    }
    if any_goes {
        edit(headers, |name, value| {
            (!goes(name.as_str())).then_some(value)
        });
    }
    if any_holds_items {
        for (name, item) in dialect.removes_items {
            remove_item(headers, name, item);
        }
    }
    remove_from_query(&mut request.uri, dialect.accepts_in_query);
}

/// Changes or removes values, and leaves the others in their order: `HeaderMap::remove` would move
/// the last name into the gap.
fn edit(
    headers: &mut HeaderMap,
    mut edit: impl FnMut(&HeaderName, HeaderValue) -> Option<HeaderValue>,
) {
    let mut edited = HeaderMap::with_capacity(headers.keys_len());
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        // A name stands before the first of its values alone.
        last = name.or(last);
        if let Some(name) = &last {
            if let Some(value) = edit(name, value) {
                edited.append(name, value);
            }
        }
    }
    *headers = edited;
}

/// Removes one item of a comma list that may be spread over several headers.
fn remove_item(headers: &mut HeaderMap, list: &'static str, item: &str) {
    let matches = |candidate: &[u8]| match item.strip_suffix('*') {
        Some(prefix) => candidate.trim_ascii().starts_with(prefix.as_bytes()),
        None => candidate.trim_ascii() == item.as_bytes(),
    };
    let holds = |value: &HeaderValue| value.as_bytes().split(|&byte| byte == b',').any(matches);
    if !headers.get_all(list).iter().any(holds) {
        return;
    }
    edit(headers, |name, value| {
        if *name != *list || !holds(&value) {
            return Some(value);
        }
        let kept: Vec<_> = value
            .as_bytes()
            .split(|&byte| byte == b',')
            .filter(|candidate| !matches(candidate))
            .collect();
        // Cut out of a legal value at its commas, it is one again.
        let rest = HeaderValue::from_bytes(kept.join(&b',').trim_ascii()).ok()?;
        (!rest.is_empty()).then_some(rest)
    });
}

/// Removes the items of these names. A query without one stays as it is, byte for byte.
fn remove_from_query(uri: &mut Uri, names: &[&str]) {
    if !items(uri).any(|item| is_named(item, names)) {
        return;
    }
    let kept: Vec<_> = items(uri).filter(|item| !is_named(item, names)).collect();
    let kept = match kept.join("&") {
        rest if rest.is_empty() => uri.path().to_owned(),
        rest => format!("{}?{rest}", uri.path()),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // Cut out of a legal query at its separators, it is one again.
    parts.path_and_query = PathAndQuery::try_from(kept).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

fn items(uri: &Uri) -> impl Iterator<Item = &str> {
    uri.query().into_iter().flat_map(|query| query.split('&'))
}

fn is_named(item: &str, names: &[&str]) -> bool {
    let name = item.split_once('=').map_or(item, |(name, _)| name);
    names
        .iter()
        .any(|wanted| decoded(name.as_bytes()).eq(wanted.bytes()))
}

/// The bytes of a percent-encoded text.
pub(super) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let hex = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        match (first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = &tail[2..];
                u8::try_from(high * 16 + low).ok()
            }
            _ => {
                rest = tail;
                Some(first)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_however_it_is_encoded() {
        assert!(is_named("key=secret", &["key"]));
        assert!(is_named("%6bey=secret", &["key"]));
        assert!(is_named("%6B%65%79=secret", &["key"]));
        assert!(is_named("key", &["key"]));
        assert!(!is_named("monkey=1", &["key"]));
        assert!(!is_named("keys=1", &["key"]));
        assert!(!is_named("k%ey=1", &["key"]));
        assert!(!is_named("a=key", &["key"]));
    }
}
