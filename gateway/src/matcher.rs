//! Which requests belong to a route: those with its host, below its prefix.

use std::fmt;

use axum::http::Uri;
use axum::http::header::{self, HeaderMap};
use axum::http::uri::Authority;

use crate::origin;
use crate::settings::RouteSettings;

#[derive(Debug)]
pub struct Matcher {
    /// In lower case, without a port. `None` matches each host.
    host: Option<String>,
    /// Without a slash at its end. Empty matches each path.
    prefix: String,
    keeps_prefix: bool,
}

impl Matcher {
    /// The error names the field.
    pub fn new(settings: &RouteSettings) -> Result<Self, (&'static str, String)> {
        let host = match &settings.host {
            Some(host) => Some(parse_host(host).map_err(|what| ("host", what.to_owned()))?),
            None => None,
        };
        let prefix = parse_prefix(settings.prefix.as_deref().unwrap_or("/"));
        Ok(Self {
            host,
            prefix: prefix.map_err(|what| ("prefix", what.to_owned()))?,
            keeps_prefix: settings.keep_prefix,
        })
    }

    /// Whether the route matches the requests of another one.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.host, &self.prefix) == (&other.host, &other.prefix)
    }

    /// Whether requests of local clients can match.
    pub fn can_be_local(&self) -> bool {
        self.host.as_deref().is_none_or(|host| {
            let host = host.parse();
            host.is_ok_and(|host| origin::is_local(&host))
        })
    }

    /// Routes with a greater value come first.
    pub fn precedence(&self) -> (bool, usize) {
        (self.host.is_some(), self.prefix.len())
    }

    /// Whether the request belongs to the route. The path must be normalized.
    pub fn matches(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let has_host = || match &self.host {
            Some(host) => host_of(uri, headers).is_some_and(|it| it.eq_ignore_ascii_case(host)),
            None => true,
        };
        self.has_prefix(uri.path()) && has_host()
    }

    fn has_prefix(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// How many bytes of the path the upstream does not receive.
    pub fn skipped(&self) -> usize {
        match self.keeps_prefix {
            true => 0,
            false => self.prefix.len(),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}/",
            self.host.as_deref().unwrap_or_default(),
            self.prefix
        )
    }
}

/// The host that the request names, without a port.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    // HTTP/2 and absolute targets name the host in the target.
    if let Some(host) = uri.host() {
        return Some(host);
    }
    let host = origin::single(headers, header::HOST)?;
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((host, port)) if is_port(port) => Some(host),
        _ => Some(host),
    }
}

fn parse_host(host: &str) -> Result<String, &'static str> {
    let authority: Result<Authority, _> = host.parse();
    match authority {
        Ok(authority) if authority.host() == host => Ok(host.to_ascii_lowercase()),
        _ => Err("expected a host name without a port"),
    }
}

/// Only plain segments. The path of a request is compared byte for byte.
fn parse_prefix(prefix: &str) -> Result<String, &'static str> {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    let plain = prefix.strip_suffix('/').unwrap_or(prefix);
    match plain.strip_prefix('/') {
        _ if prefix == "/" => Ok(String::new()),
        Some(segments) if segments.split('/').all(is_segment) => Ok(plain.to_owned()),
        _ => Err("expected a path such as /openai, with letters, digits and -_.~ only"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(host: Option<&str>, prefix: &str) -> Result<Matcher, (&'static str, String)> {
        Matcher::new(&RouteSettings {
            host: host.map(str::to_owned),
            prefix: Some(prefix.to_owned()),
            ..RouteSettings::default()
        })
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let matcher = matcher(None, "/a/b/").unwrap();

        for (target, matches) in [
            ("/a/b", true),
            ("/a/b?c", true),
            ("/a/b/", true),
            ("/a/b/c", true),
            ("/a/bc", false),
            ("/a", false),
            ("/", false),
            ("/a%2Fb", false),
            ("/A/b", false),
        ] {
            let uri = target.parse().unwrap();
            assert_eq!(
                matcher.matches(&uri, &HeaderMap::new()),
                matches,
                "{target}"
            );
        }
    }

    #[test]
    fn a_host_matches_without_case_and_port() {
        let matcher = matcher(Some("Api.example"), "/").unwrap();

        for (host, matches) in [
            ("api.example", true),
            ("API.EXAMPLE:8080", true),
            ("api.example.", false),
            ("x.api.example", false),
            ("api.example:x", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            let uri = "/".parse().unwrap();
            assert_eq!(matcher.matches(&uri, &headers), matches, "{host}");
            headers.append(header::HOST, "other".parse().unwrap());
            assert!(!matcher.matches(&uri, &headers));
        }
        let absolute = "http://api.example:1/".parse().unwrap();
        assert!(matcher.matches(&absolute, &HeaderMap::new()));
    }

    #[test]
    fn odd_prefixes_and_hosts_are_rejected() {
        for prefix in [
            "", "a", "//", "/a//b", "/a/../b", "/a%2f", "/a?b", "/a b", "/é", "/a//",
        ] {
            assert!(matcher(None, prefix).is_err(), "{prefix}");
        }
        for host in ["", "a:80", "a b", "user@a", "http://a", "a/b"] {
            assert!(matcher(Some(host), "/").is_err(), "{host}");
        }
    }
}
