/// Which requests bring a credential of their own ("bring your own key"), and so make one attempt
/// that nothing is done to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Byok {
    /// Those with any credential in a place where the provider accepts one.
    #[default]
    Detect,
    /// None: whatever a client sends is replaced by a key of the pool.
    Never,
    /// Those with a credential that begins with one of these. Some clients must send *something*
    /// and send a placeholder (`Bearer dummy`); what real keys begin with tells them apart.
    Prefixes(Vec<String>),
}

impl Byok {
    /// [`Byok::Prefixes`] of anything that can be made into strings.
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

    /// Whether a request with these credentials, none of them empty, brings its own.
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
