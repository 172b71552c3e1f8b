/// Which requests bring their own credential ("bring your own key"). Such a request makes one
/// attempt, unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub enum Byok {
    /// Requests with any credential in a place where the provider accepts one.
    #[default]
    Detect,
    /// No request. A key of the pool replaces any credential that a client sends.
    Never,
    /// Requests with a credential that starts with one of these prefixes. Some clients cannot send a request
    /// without a credential, and send a placeholder such as `Bearer dummy`. With the prefixes of
    /// real keys, such a request gets a key of the pool.
    Prefixes(Vec<String>),
}

impl Byok {
    /// Creates [`Byok::Prefixes`] from anything that converts to strings.
    ///
    /// ```
    /// use tower_key_failover::policy::Byok;
    ///
    /// assert_eq!(Byok::prefixes(["sk-"]), Byok::Prefixes(vec!["sk-".to_owned()]));
    /// ```
    pub fn prefixes<I>(prefixes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::Prefixes(prefixes.into_iter().map(Into::into).collect())
    }

    /// Whether a request with these non-empty credentials brings its own.
    pub(super) fn applies<'a>(&self, mut presented: impl Iterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Detect => presented.next().is_some(),
            Self::Never => false,
            Self::Prefixes(prefixes) => presented.any(|credential| {
                prefixes
                    .iter()
                    .any(|prefix| credential.starts_with(prefix.as_bytes()))
            }),
        }
    }
}
