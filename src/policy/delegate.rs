/// Implements methods of [`ProviderPolicy`](crate::ProviderPolicy) by calling the same methods of
/// another policy, for a policy that wraps it.
///
/// The trait has no default for anything that affects a request, so that the compiler names every
/// method that a wrapper leaves out.
///
/// ```
/// # #[cfg(feature = "providers")] {
/// use http::{HeaderValue, request};
/// use tower_key_failover::policy::{Provider, ProviderPolicy};
/// use tower_key_failover::{Key, delegate_policy};
///
/// /// Adds a header to every attempt.
/// struct Tagged(Provider);
///
/// impl ProviderPolicy for Tagged {
///     delegate_policy!(|self| self.0 =>
///         is_byok, scope, classify, classify_body, success, success_in_body, exhausted_response);
///
///     fn inject_key(&self, request: &mut request::Parts, key: &Key) {
///         self.0.inject_key(request, key);
///         request.headers.insert("x-tag", HeaderValue::from_static("pooled"));
///     }
/// }
/// # }
/// ```
#[macro_export]
macro_rules! delegate_policy {
    (|$this:ident| $inner:expr => $($method:ident),+ $(,)?) => {
        $($crate::delegate_policy!(@$method $this $inner);)+
    };
    (@is_byok $this:ident $inner:expr) => {
        fn is_byok(&$this, request: &$crate::__private::http::request::Parts) -> bool {
            $inner.is_byok(request)
        }
    };
    (@inject_key $this:ident $inner:expr) => {
        fn inject_key(
            &$this,
            request: &mut $crate::__private::http::request::Parts,
            key: &$crate::pool::Key,
        ) {
            $inner.inject_key(request, key);
        }
    };
    (@scope $this:ident $inner:expr) => {
        fn scope(
            &$this,
            request: &$crate::__private::http::request::Parts,
        ) -> ::core::option::Option<$crate::pool::Scope> {
            $inner.scope(request)
        }
    };
    (@classify $this:ident $inner:expr) => {
        fn classify(
            &$this,
            response: &$crate::__private::http::response::Parts,
        ) -> $crate::policy::Verdict {
            $inner.classify(response)
        }
    };
    (@classify_body $this:ident $inner:expr) => {
        fn classify_body(
            &$this,
            response: &$crate::__private::http::response::Parts,
            body: &$crate::policy::BodyEvidence<'_>,
        ) -> $crate::policy::Verdict {
            $inner.classify_body(response, body)
        }
    };
    (@success $this:ident $inner:expr) => {
        fn success(
            &$this,
            response: &$crate::__private::http::response::Parts,
        ) -> $crate::policy::Success {
            $inner.success(response)
        }
    };
    (@success_in_body $this:ident $inner:expr) => {
        fn success_in_body(
            &$this,
            response: &$crate::__private::http::response::Parts,
            body: &$crate::policy::BodyEvidence<'_>,
        ) -> bool {
            $inner.success_in_body(response, body)
        }
    };
    (@exhausted_response $this:ident $inner:expr) => {
        fn exhausted_response(
            &$this,
            exhausted: &$crate::pool::Exhausted,
        ) -> $crate::__private::http::Response<$crate::__private::bytes::Bytes> {
            $inner.exhausted_response(exhausted)
        }
    };
}
