//! The places in a request where a credential can be: finding the caller's own, and removing it
//! before a key of the pool is injected.

use http::header::{AUTHORIZATION, GetAll, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri, request};

use crate::pool::Key;

/// Removed for every provider, because a client that uses several may send any of them.
const SHARED: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

/// The places where credentials of one provider can be, as data.
pub(super) struct Places {
    /// How a key is sent.
    pub(super) carrier: Carrier,
    /// Further headers in which the provider accepts a credential, so that a caller's own can be
    /// there.
    pub(super) accepts: &'static [&'static str],
    /// Items of comma-separated lists in which the provider accepts a credential: the header and
    /// what precedes the credential.
    pub(super) accepts_in_lists: &'static [(&'static str, &'static str)],
    /// Query parameters in which the provider accepts a credential.
    pub(super) accepts_in_query: &'static [&'static str],
    /// Query parameters that are not credentials, but belong to the caller's credential.
    pub(super) removes_in_query: &'static [&'static str],
    /// Headers that are not credentials, but belong to the caller's credential.
    pub(super) removes: &'static [&'static str],
    /// Items of comma-separated lists that belong to the caller's credential: the header and the
    /// item, in which a trailing `*` matches anything.
    pub(super) removes_items: &'static [(&'static str, &'static str)],
}

impl Places {
    /// `authorization: Bearer <key>`, and nothing else.
    pub(super) const BEARER: Self = Self {
        carrier: Carrier::Bearer,
        accepts: &[],
        accepts_in_lists: &[],
        accepts_in_query: &[],
        removes_in_query: &[],
        removes: &[],
        removes_items: &[],
    };
}

/// How a key is sent.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    /// `authorization: Bearer <key>`.
    Bearer,
    /// The key alone, in the header of this name.
    Header(&'static str),
}

/// How one policy finds, removes and injects credentials.
#[derive(Clone)]
pub(super) struct Credentials {
    places: &'static Places,
    /// The header that receives a key of the pool.
    header: HeaderName,
    is_bearer: bool,
    accepted: NameLengths,
    removed: NameLengths,
}

impl Credentials {
    pub(super) fn new(places: &'static Places) -> Self {
        match places.carrier {
            Carrier::Bearer => Self::with(places, AUTHORIZATION, true),
            Carrier::Header(name) => Self::in_header(places, HeaderName::from_static(name)),
        }
    }

    /// Sends the key alone in the header `name`, whatever the carrier of `places` is.
    pub(super) fn in_header(places: &'static Places, name: HeaderName) -> Self {
        Self::with(places, name, false)
    }

    fn with(places: &'static Places, header: HeaderName, is_bearer: bool) -> Self {
        Self {
            places,
            accepted: NameLengths::accepted(&header, places),
            removed: NameLengths::removed(places),
            header,
            is_bearer,
        }
    }

    /// The header that receives a key of the pool.
    pub(super) fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Replaces every credential by `key`.
    pub(super) fn inject(&self, request: &mut request::Parts, key: &Key) {
        remove(request, self.places, self.removed);
        let value = if self.is_bearer {
            key.bearer()
        } else {
            key.header_value()
        };
        request.headers.insert(self.header.clone(), value);
    }

    /// Every credential in a place where the provider accepts one, without its scheme.
    pub(super) fn presented<'a>(
        &'a self,
        request: &'a request::Parts,
    ) -> impl Iterator<Item = &'a [u8]> {
        let Self {
            places,
            header,
            accepted,
            ..
        } = self;
        let in_header = |name: &'a str, values: GetAll<'a, HeaderValue>| {
            values.into_iter().map(move |value| match name {
                "authorization" => after_scheme(value.as_bytes()),
                _ => value.as_bytes(),
            })
        };
        let headers = &request.headers;
        let in_headers = move || {
            let in_own = in_header(header.as_str(), headers.get_all(header));
            let accepts = places.accepts.iter();
            let lists = places.accepts_in_lists.iter();
            in_own
                .chain(accepts.flat_map(move |name| in_header(name, headers.get_all(*name))))
                .chain(lists.flat_map(move |(list, lead)| in_list(headers.get_all(*list), lead)))
        };
        let in_headers = headers
            .keys()
            .any(|name| accepted.matches(name))
            .then(in_headers);
        let in_query = items(&request.uri)
            .filter(|item| is_named(item, places.accepts_in_query))
            .filter_map(|item| Some(item.split_once('=')?.1.as_bytes()));
        in_headers
            .into_iter()
            .flatten()
            .chain(in_query)
            .map(<[u8]>::trim_ascii)
            .filter(|credential| !credential.is_empty())
    }
}

/// What follows `lead` in each item of a comma-separated list that can span several headers.
fn in_list<'a>(
    values: GetAll<'a, HeaderValue>,
    lead: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    let items = values
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    items.filter_map(|item| item.trim_ascii().strip_prefix(lead.as_bytes()))
}

/// What follows the scheme. A known scheme without anything is no credential.
fn after_scheme(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.iter().position(u8::is_ascii_whitespace) {
        Some(at) => &value[at..],
        None if value.eq_ignore_ascii_case(b"bearer") => &[],
        None => value,
    }
}

/// The lengths of some header names as a bit set. Most other names differ in their length.
#[derive(Clone, Copy)]
struct NameLengths(u64);

impl NameLengths {
    /// The headers in which the provider accepts a credential.
    fn accepted(header: &HeaderName, places: &Places) -> Self {
        let lists = places.accepts_in_lists.iter().map(|(list, _)| *list);
        let names = places.accepts.iter().copied().chain(lists);
        Self::of(names.chain([header.as_str()]))
    }

    /// The headers that [`remove`] removes or edits.
    fn removed(places: &Places) -> Self {
        let names = [&SHARED, places.accepts, places.removes];
        let lists = places.removes_items.iter().map(|(list, _)| *list);
        Self::of(names.into_iter().flatten().copied().chain(lists))
    }

    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.fold(0, |lengths, name| lengths | Self::bit(name)))
    }

    fn matches(self, name: &HeaderName) -> bool {
        self.0 & Self::bit(name.as_str()) != 0
    }

    fn bit(name: &str) -> u64 {
        1 << (name.len() % 64)
    }
}

/// Removes the headers in which any known provider accepts a credential, and what belongs to that
/// credential, for policies of other providers.
///
/// These are `authorization`, `x-api-key` and the like, the headers of AWS signatures, OpenAI's
/// organization and project, and the keys in `sec-websocket-protocol`. Parameters of the query differ
/// between providers: see [`remove_query_parameters`].
///
/// ```
/// use http::Request;
/// use tower_key_failover::policy::remove_credentials;
///
/// let request = Request::builder().header("api-key", "theirs").header("accept", "*/*");
/// let (mut head, ()) = request.body(()).unwrap().into_parts();
/// remove_credentials(&mut head);
/// assert!(!head.headers.contains_key("api-key"));
/// assert!(head.headers.contains_key("accept"));
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub fn remove_credentials(request: &mut request::Parts) {
    const ALL: Places = Places {
        removes: &[
            "openai-organization",
            "openai-project",
            "x-amz-content-sha256",
            "x-amz-date",
            "x-amz-security-token",
            "x-goog-user-project",
        ],
        removes_items: &[
            ("anthropic-beta", "oauth-2025-04-20"),
            ("sec-websocket-protocol", "openai-insecure-api-key.*"),
            ("sec-websocket-protocol", "openai-organization.*"),
            ("sec-websocket-protocol", "openai-project.*"),
        ],
        ..Places::BEARER
    };
    remove(request, &ALL, NameLengths::removed(&ALL));
}

/// Removes the parameters of these names from the query, however the names are percent-encoded. A
/// query without them is unchanged, byte for byte.
///
/// ```
/// use http::Request;
/// use tower_key_failover::policy::remove_query_parameters;
///
/// let (mut head, ()) = Request::get("/v1?a=1&%6bey=theirs").body(()).unwrap().into_parts();
/// remove_query_parameters(&mut head, &["key"]);
/// assert_eq!(head.uri, "/v1?a=1");
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub fn remove_query_parameters(request: &mut request::Parts, names: &[&str]) {
    remove_from_query(&mut request.uri, names);
}

/// Removes everything that this or any other provider accepts as a credential, and what belongs to
/// it.
fn remove(request: &mut request::Parts, places: &Places, lengths: NameLengths) {
    let headers = &mut request.headers;
    let goes = |name: &str| {
        let lists = [&SHARED, places.accepts, places.removes];
        lists.iter().any(|names| names.contains(&name))
    };
    let holds_items = |name: &str| places.removes_items.iter().any(|(list, _)| *list == name);
    // One pass over the names that are present is cheaper than a lookup of each possible name.
    let (mut any_goes, mut any_holds_items) = (false, false);
    for name in headers.keys().filter(|name| lengths.matches(name)) {
        any_goes |= goes(name.as_str());
        any_holds_items |= holds_items(name.as_str());
    }
    if any_goes {
        edit(headers, |name, value| {
            (!goes(name.as_str())).then_some(value)
        });
    }
    if any_holds_items {
        for (name, item) in places.removes_items {
            remove_item(headers, name, item);
        }
    }
    remove_from_query(&mut request.uri, places.accepts_in_query);
    remove_from_query(&mut request.uri, places.removes_in_query);
}

/// Changes or removes values and keeps the order of the others. `HeaderMap::remove` would move the
/// last name into the gap.
fn edit(
    headers: &mut HeaderMap,
    mut edit: impl FnMut(&HeaderName, HeaderValue) -> Option<HeaderValue>,
) {
    let mut edited = HeaderMap::with_capacity(headers.keys_len());
    let mut last = None;
    for (name, value) in std::mem::take(headers) {
        // Only the first value of a name comes with the name.
        last = name.or(last);
        if let Some(name) = &last
            && let Some(value) = edit(name, value)
        {
            edited.append(name, value);
        }
    }
    *headers = edited;
}

/// Removes one item of a comma-separated list that can span several headers.
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
        // A legal value without some of its items is legal.
        let rest = HeaderValue::from_bytes(kept.join(&b',').trim_ascii()).ok()?;
        (!rest.is_empty()).then_some(rest)
    });
}

/// Removes the parameters of these names. A query without them is unchanged, byte for byte.
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
    // A legal query without some of its parameters is legal.
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
        .any(|wanted| percent_decoded(name.as_bytes()).eq(wanted.bytes()))
}

/// The bytes of a percent-encoded text.
pub(super) fn percent_decoded(text: &[u8]) -> impl Iterator<Item = u8> {
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
    fn a_parameter_is_recognized_if_its_name_is_percent_encoded() {
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
