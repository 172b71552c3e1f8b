use std::sync::Arc;

use http::request;

use super::Scope;
use super::pooled_key::PooledKey;

/// What a request says about the choice of its key. It belongs in the request's extensions.
///
/// ```
/// use http::Request;
/// use tower_key_failover::pool::{KeyChoice, Scope};
///
/// let mut request = Request::new(());
/// let choice = KeyChoice::new()
///     .scope(Scope::new("gpt-4o").unwrap())
///     .affinity(1234);
/// request.extensions_mut().insert(choice);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChoice {
    scope: Option<Scope>,
    affinity: Option<u64>,
    pin: Option<Pin>,
}

/// The only key or group that a request may use.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pin {
    /// The label of a key.
    Key(Arc<str>),
    /// The name of a group.
    Group(Arc<str>),
}

impl KeyChoice {
    /// Creates a choice without a scope, a session and a pin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the scope. The built-in policies use it, unless the path of the request names one.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Sets the session. Requests of one session use the same key as long as it is usable.
    /// [`session_id`](crate::pool::session_id) turns a string into such a number. See
    /// [affinity](crate::guides::selection#affinity).
    #[must_use]
    pub fn affinity(mut self, session: u64) -> Self {
        self.affinity = Some(session);
        self
    }

    /// Allows only the key with this label. Replaces another pin.
    ///
    /// If the key is unusable, the request [waits](crate::KeyFailoverLayer::wait_for_key) or fails. If the
    /// pool has no key with this label, the request fails with
    /// [`ExhaustedKind::UnknownPin`](crate::ExhaustedKind::UnknownPin).
    #[must_use]
    pub fn pin_key(mut self, label: &str) -> Self {
        self.pin = Some(Pin::Key(label.into()));
        self
    }

    /// Allows only the keys of this group. Replaces another pin. Otherwise like
    /// [`pin_key`](Self::pin_key).
    #[must_use]
    pub fn pin_group(mut self, name: &str) -> Self {
        self.pin = Some(Pin::Group(name.into()));
        self
    }

    /// Returns the choice in the extensions of a request.
    #[allow(dead_code)]
    pub(crate) fn of(head: &request::Parts) -> Option<&Self> {
        head.extensions.get()
    }

    /// Returns the scope, if it is set.
    ///
    /// [`ProviderPolicy::scope`](crate::ProviderPolicy::scope) of a custom policy can use it:
    ///
    /// ```
    /// use http::request;
    /// use tower_key_failover::pool::{KeyChoice, Scope};
    ///
    /// fn scope(head: &request::Parts) -> Option<Scope> {
    ///     head.extensions.get::<KeyChoice>()?.scope_ref().cloned()
    /// }
    /// # let mut head = http::Request::new(()).into_parts().0;
    /// # assert_eq!(scope(&head), None);
    /// # let named = Scope::new("gpt-4o");
    /// # head.extensions.insert(KeyChoice::new().scope(named.clone().unwrap()));
    /// # assert_eq!(scope(&head), named);
    /// ```
    pub fn scope_ref(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Whether a request with this choice can use no more than one with the `other` choice.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        (other.pin.is_none() || other.pin == self.pin)
            && (other.scope.is_none() || other.scope == self.scope)
    }

    /// Whether it is at most a scope, so that every key is as good as another.
    pub(super) fn is_only_scope(&self) -> bool {
        self.affinity.is_none() && self.pin.is_none()
    }

    pub(crate) fn session(&self) -> Option<u64> {
        self.affinity
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pin.is_some()
    }

    /// Whether the request may use a key.
    pub(super) fn allows(&self, key: &PooledKey) -> bool {
        match &self.pin {
            None => true,
            Some(Pin::Key(label)) => key.settings.label.as_ref() == Some(label),
            Some(Pin::Group(name)) => key.settings.group.as_ref() == Some(name),
        }
    }
}
