//! Policies for providers that have none of their own.

use http::HeaderName;

use super::dialect::{Carrier, Dialect};
use super::openai;
use super::provider::{Provider, policy};

policy! {
    /// Any provider that takes `authorization: Bearer <key>`.
    ///
    /// It goes by the status and the timing headers alone, and reads no body.
    Bearer,
    DIALECT
}

const DIALECT: Dialect = Dialect {
    name: "bearer",
    removes: &[],
    removes_items: &[],
    inspects: &[],
    finding: |_| None,
    ..openai::DIALECT
};

/// Any provider that takes the key alone in a header of some name.
///
/// It goes by the status and the timing headers alone, and reads no body.
///
/// ```
/// use http::{HeaderName, Request};
/// use tower_key_failover::KeyPool;
/// use tower_key_failover::policy::{Header, ProviderPolicy};
///
/// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
/// let policy = Header::new(HeaderName::from_static("x-token"));
/// let key = KeyPool::new(["first-key"])?.walker().next_key().unwrap();
///
/// let mut request = Request::new(()).into_parts().0;
/// policy.inject_key(&mut request, &key);
/// assert_eq!(request.headers["x-token"], "first-key");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Header(Provider);

impl Header {
    /// The policy for a provider that reads the key from the header `name`.
    pub fn new(name: HeaderName) -> Self {
        static RAW: Dialect = Dialect {
            name: "header",
            // The name in force is the provider's own.
            carrier: Carrier::Header("x-api-key"),
            ..DIALECT
        };
        Self(Provider::in_header(&RAW, name))
    }
}

policy!(@impl Header);
