//! The upstream, and the target of a request there.

use std::fmt;

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};

use crate::bad_input::{BadInput, bad};

/// The address of the upstream.
#[derive(Clone, Debug)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// The base path, without a slash at its end.
    base: String,
}

impl Upstream {
    pub fn parse(text: &str) -> Result<Self, BadInput> {
        let uri: Uri = text
            .parse()
            .map_err(|_| BadInput(format!("--upstream {text}: not a URL")))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority), Some(path)) =
            (parts.scheme, parts.authority, parts.path_and_query)
        else {
            return bad(format!(
                "--upstream {text}: not a URL with http:// or https://"
            ));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return bad(format!(
                "--upstream {text}: not a URL with http:// or https://"
            ));
        }
        if authority.as_str().contains('@') {
            return bad("--upstream contains a user name or password, which is not supported");
        }
        if path.query().is_some() {
            return bad(format!("--upstream {text}: must not have a query"));
        }
        let base = path.path().trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            authority,
            base,
        })
    }

    /// The target of a request at the upstream: its path below the base path, and its query.
    /// `None` if it is too long. The path must be normalized.
    pub fn target(&self, of: &Uri) -> Option<Uri> {
        let path = of.path_and_query()?;
        let path = match self.base.as_str() {
            "" => path.clone(),
            base => format!("{base}{path}").parse().ok()?,
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
