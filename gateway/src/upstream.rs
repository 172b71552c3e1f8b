//! The upstream, and the target of a request there.

use std::fmt;

use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderValue, Uri};

/// The address of the upstream.
#[derive(Clone, Debug)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// The authority without the default port.
    host: HeaderValue,
    /// The base path, without a slash at its end.
    base: String,
}

impl Upstream {
    /// The error is a message without the text, which may contain a key or a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
        let parts = uri.into_parts();
        let has_credentials = |it: &Authority| it.as_str().contains('@');
        if parts.authority.as_ref().is_some_and(has_credentials) {
            return Err("contains a user name or password, which is not supported".to_owned());
        }
        let is_http = |it: &Scheme| *it == Scheme::HTTP || *it == Scheme::HTTPS;
        let scheme = parts.scheme.filter(is_http);
        let (Some(scheme), Some(authority), Some(path)) =
            (scheme, parts.authority, parts.path_and_query)
        else {
            return Err("is not a URL with http:// or https://".to_owned());
        };
        // A port follows the host.
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            return Err("has an invalid port".to_owned());
        }
        if path.query().is_some() {
            return Err("must not have a query".to_owned());
        }
        let base = path.path().trim_end_matches('/').to_owned();
        let default_port = if scheme == Scheme::HTTP { 80 } else { 443 };
        let host = match authority.port_u16() {
            Some(port) if port == default_port => authority.host(),
            _ => authority.as_str(),
        };
        Ok(Self {
            host: host.parse().map_err(|_| "is not a URL")?,
            scheme,
            authority,
            base,
        })
    }

    /// What `host` contains in requests to the upstream.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The target of a request at the upstream: its path below the base path without its first
    /// `skipped` bytes, and its query. `None` if it is too long. The path must be normalized.
    pub fn target(&self, of: &Uri, skipped: usize) -> Option<Uri> {
        let path = of.path_and_query()?;
        let path = match (self.base.as_str(), &path.as_str()[skipped..]) {
            ("", _) if skipped == 0 => path.clone(),
            (base, rest) if rest.starts_with('/') => format!("{base}{rest}").parse().ok()?,
            (base, rest) => format!("{base}/{rest}").parse().ok()?,
        };
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone());
        uri.path_and_query(path).build().ok()
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base)
    }
}
