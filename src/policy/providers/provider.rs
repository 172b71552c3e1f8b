//! The built-in policies' one implementation. What differs between providers is a [`Dialect`].

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, Response, StatusCode, request, response};

use super::answer::Answer;
use super::byok::Byok;
use super::credentials::Lengths;
use super::dialect::{Carrier, Dialect, Finding, Protocol};
#[cfg(feature = "grpc")]
use super::grpc;
use super::{credentials, exhausted, hints};
use crate::policy::{BodyEvidence, Mark, ProviderPolicy, Reason, Verdict};
use crate::pool::{Exhausted, Key};

const PERMANENT: Verdict = Verdict::Failover(Mark::permanent());
const KEEP: Verdict = Verdict::Failover(Mark::keep());

/// A built-in policy, chosen by [`for_name`](super::for_name).
///
/// [`OpenAi`](super::OpenAi), [`Anthropic`](super::Anthropic) and the others are one of these
/// each; what can be set is the same for all.
///
/// ```
/// use std::time::Duration;
/// use http::{Response, StatusCode};
/// use tower_key_failover::policy::{self, Mark, ProviderPolicy, Verdict};
///
/// let groq = policy::for_name("groq")
///     .expect("a provider's name")
///     .on_forbidden(Verdict::Failover(Mark::keep()))
///     .quota_cooldown(Duration::from_secs(6 * 60 * 60));
///
/// let mut answer = Response::new(());
/// *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
/// // What a 429 means, and how long it lasts, stands in Groq's body.
/// assert_eq!(groq.classify(&answer.into_parts().0), Verdict::Inspect);
/// ```
#[derive(Clone)]
pub struct Provider {
    dialect: &'static Dialect,
    header: HeaderName,
    accepted: Lengths,
    removed: Lengths,
    settings: Settings,
}

#[derive(Clone, Debug)]
struct Settings {
    on_unauthorized: Option<Verdict>,
    on_forbidden: Option<Verdict>,
    quota_cooldown: Duration,
    byok: Byok,
    peek_timeout: Duration,
}

impl Provider {
    pub(super) fn new(dialect: &'static Dialect) -> Self {
        let header = match dialect.carrier {
            Carrier::Bearer => AUTHORIZATION,
            Carrier::Header(name) => HeaderName::from_static(name),
        };
        Self::in_header(dialect, header)
    }

    pub(super) fn in_header(dialect: &'static Dialect, header: HeaderName) -> Self {
        Self {
            dialect,
            accepted: Lengths::accepted(&header, dialect),
            removed: Lengths::removed(dialect),
            header,
            settings: Settings {
                on_unauthorized: None,
                on_forbidden: None,
                quota_cooldown: Duration::from_secs(60 * 60),
                byok: Byok::Detect,
                peek_timeout: Duration::ZERO,
            },
        }
    }

    /// The same settings, with the key in another header.
    #[cfg(feature = "grpc")]
    pub(super) fn with_header(self, dialect: &'static Dialect, header: HeaderName) -> Self {
        Self {
            settings: self.settings,
            ..Self::in_header(dialect, header)
        }
    }

    #[cfg(feature = "grpc")]
    pub(super) fn with_peek_timeout(mut self, time: Duration) -> Self {
        self.settings.peek_timeout = time;
        self
    }

    /// The provider's name, by which [`for_name`](super::for_name) finds the policy.
    pub fn name(&self) -> &'static str {
        self.dialect.name
    }

    /// What a 401 means, unless the answer says that the key lives. Default: the key is out for
    /// good. In gRPC that is `UNAUTHENTICATED`.
    ///
    /// [`Verdict::Inspect`] and [`Verdict::Peek`] count as [`Verdict::Forward`].
    #[must_use]
    pub fn on_unauthorized(mut self, verdict: Verdict) -> Self {
        self.settings.on_unauthorized = Some(verdict.or_forward());
        self
    }

    /// What a 403 means, unless the answer says that the key lives. Default: the key is out for
    /// good; where the body cannot be decoded, it is kept. In gRPC that is `PERMISSION_DENIED`, on
    /// which a key is kept unless the details say otherwise.
    ///
    /// [`Verdict::Inspect`] and [`Verdict::Peek`] count as [`Verdict::Forward`].
    #[must_use]
    pub fn on_forbidden(mut self, verdict: Verdict) -> Self {
        self.settings.on_forbidden = Some(verdict.or_forward());
        self
    }

    /// How long a key is out whose credit, plan or budget is used up, where the answer names no
    /// reset. Default: one hour.
    #[must_use]
    pub fn quota_cooldown(mut self, cooldown: Duration) -> Self {
        self.settings.quota_cooldown = cooldown;
        self
    }

    /// Which requests bring a credential of their own. Default: [`Byok::Detect`].
    #[must_use]
    pub fn byok(mut self, byok: Byok) -> Self {
        self.settings.byok = byok;
        self
    }

    fn judge(&self, answer: &Answer<'_>) -> Verdict {
        self.weigh(answer, self.finding(answer))
    }

    /// Judges an answer whose own status is not the one that it stands for, and gives no reason.
    fn judge_late(&self, answer: &Answer<'_>) -> Verdict {
        let verdict = match self.dialect.protocol {
            Protocol::Http => self.judge(answer),
            #[cfg(feature = "grpc")]
            Protocol::Grpc => match (self.dialect.finding)(answer) {
                // By itself it does not say whether the key is dead.
                None if answer.status() == StatusCode::FORBIDDEN => {
                    self.settings.on_forbidden.unwrap_or(KEEP)
                }
                finding => self.weigh(answer, finding),
            },
        };
        match verdict {
            Verdict::Failover(mark) => {
                Verdict::Failover(mark.because(mark.reason(answer.status())))
            }
            verdict => verdict,
        }
    }

    fn weigh(&self, answer: &Answer<'_>, finding: Option<Finding>) -> Verdict {
        let status = answer.status();
        let mark = match finding {
            Some(Finding::NotTheKey) => return Verdict::Forward,
            Some(Finding::Here) => Mark::keep(),
            Some(Finding::Quota(reset)) => {
                let wait = hints::quota(answer, reset).unwrap_or(self.settings.quota_cooldown);
                because(Reason::Quota, Mark::temporary(Some(wait)), status)
            }
            Some(Finding::RateLimited(reset)) => {
                let wait = hints::rate_limit(answer, reset);
                because(Reason::RateLimited, Mark::temporary(wait), status)
            }
            // A 401 and a 403 say it by themselves, and there the user may see it otherwise.
            Some(Finding::Dead) if !matches!(status.as_u16(), 401 | 403) => {
                because(Reason::Unauthorized, Mark::permanent(), status)
            }
            Some(Finding::Dead) | None => return self.by_status(answer),
        };
        Verdict::Failover(mark)
    }

    fn by_status(&self, answer: &Answer<'_>) -> Verdict {
        match answer.status().as_u16() {
            401 => self.settings.on_unauthorized.unwrap_or(PERMANENT),
            // Most bodies of a 403 say that the key lives: one that cannot be read may too.
            403 if !answer.is_decodable() => self.settings.on_forbidden.unwrap_or(KEEP),
            403 => self.settings.on_forbidden.unwrap_or(PERMANENT),
            429 => Verdict::Failover(Mark::temporary(hints::rate_limit(answer, None))),
            _ => Verdict::Forward,
        }
    }

    fn finding(&self, answer: &Answer<'_>) -> Option<Finding> {
        if answer.status() == StatusCode::FORBIDDEN && answer.is_html() {
            // An edge in front of the provider, which never saw the key.
            return Some(Finding::NotTheKey);
        }
        let finding = if self.inspects(answer.status()) {
            (self.dialect.finding)(answer)
        } else {
            None
        };
        let unpaid = answer.status() == StatusCode::PAYMENT_REQUIRED && self.dialect.bills_with_402;
        finding.or(unpaid.then_some(Finding::Quota(None)))
    }

    fn inspects(&self, status: StatusCode) -> bool {
        self.dialect.inspects.contains(&status.as_u16())
    }
}

/// The mark with its reason, where the status does not give the same.
fn because(reason: Reason, mark: Mark, status: StatusCode) -> Mark {
    if mark.reason(status) == reason {
        mark
    } else {
        mark.because(reason)
    }
}

impl ProviderPolicy for Provider {
    fn is_byok(&self, request: &request::Parts) -> bool {
        let presented = credentials::presented(request, &self.header, self.dialect, self.accepted);
        self.dialect.byok_only || self.settings.byok.applies(presented)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        credentials::remove(request, self.dialect, self.removed);
        let value = match self.dialect.carrier {
            Carrier::Bearer => key.bearer(),
            Carrier::Header(_) => key.header_value(),
        };
        request.headers.insert(self.header.clone(), value);
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        #[cfg(feature = "grpc")]
        if let Protocol::Grpc = self.dialect.protocol {
            return match grpc::answer(response, &response.headers) {
                Some(answer) => self.judge_late(&answer),
                None if grpc::has_trailers(response) => Verdict::Peek,
                None => self.judge(&Answer::of_head(response)),
            };
        }
        if response.status.is_success() {
            return Verdict::Forward;
        }
        let answer = Answer::of_head(response);
        // HTML says no more than its status.
        if self.inspects(response.status) && !answer.is_html() {
            Verdict::Inspect
        } else {
            self.judge(&answer)
        }
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        #[cfg(feature = "grpc")]
        if let Protocol::Grpc = self.dialect.protocol {
            let answer = body.trailers().and_then(|it| grpc::answer(response, it));
            return answer.map_or(Verdict::Forward, |answer| self.judge_late(&answer));
        }
        if response.status.is_success() {
            let event = Answer::of_first_event(response, body);
            return match self.dialect.status_of_event.and_then(|of| of(&event)) {
                Some(status) => self.judge_late(&event.with_status(status)),
                None => Verdict::Forward,
            };
        }
        self.judge(&Answer::new(response, body))
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        match self.dialect.protocol {
            Protocol::Http => exhausted::response(exhausted, self.dialect.exhausted),
            #[cfg(feature = "grpc")]
            Protocol::Grpc => grpc::exhausted(exhausted),
        }
    }

    fn peek_timeout(&self) -> Duration {
        self.settings.peek_timeout
    }

    fn may_fail_late(&self, response: &response::Parts) -> bool {
        response.status.is_success() && self.dialect.status_of_event.is_some()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.dialect.name)
            .field("header", &self.header)
            .field("settings", &self.settings)
            .finish()
    }
}

/// Declares a provider's policy: a name of its own for a [`Provider`] of one dialect.
macro_rules! policy {
    ($(#[$docs:meta])* $name:ident, $dialect:expr) => {
        $(#[$docs])*
        #[derive(Clone, Debug)]
        pub struct $name($crate::policy::Provider);

        impl $name {
            /// The policy with every default.
            pub fn new() -> Self {
                static OWN: $crate::policy::providers::dialect::Dialect = $dialect;
                Self($crate::policy::Provider::new(&OWN))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        $crate::policy::providers::provider::policy!(@impl $name);
    };
    (@impl $name:ident) => {
        impl $name {
            /// What a 401 means, unless the answer says that the key lives: see
            /// [`Provider::on_unauthorized`](crate::policy::Provider::on_unauthorized).
            #[must_use]
            pub fn on_unauthorized(self, verdict: $crate::policy::Verdict) -> Self {
                Self(self.0.on_unauthorized(verdict))
            }

            /// What a 403 means, unless the answer says that the key lives: see
            /// [`Provider::on_forbidden`](crate::policy::Provider::on_forbidden).
            #[must_use]
            pub fn on_forbidden(self, verdict: $crate::policy::Verdict) -> Self {
                Self(self.0.on_forbidden(verdict))
            }

            /// How long a key with an exhausted quota is out, where no reset is named: see
            /// [`Provider::quota_cooldown`](crate::policy::Provider::quota_cooldown).
            #[must_use]
            pub fn quota_cooldown(self, cooldown: ::std::time::Duration) -> Self {
                Self(self.0.quota_cooldown(cooldown))
            }

            /// Which requests bring a credential of their own: see
            /// [`Provider::byok`](crate::policy::Provider::byok).
            #[must_use]
            pub fn byok(self, byok: $crate::policy::Byok) -> Self {
                Self(self.0.byok(byok))
            }
        }

        impl $crate::policy::ProviderPolicy for $name {
            fn is_byok(&self, request: &http::request::Parts) -> bool {
                self.0.is_byok(request)
            }

            fn inject_key(&self, request: &mut http::request::Parts, key: &$crate::pool::Key) {
                self.0.inject_key(request, key);
            }

            fn classify(&self, response: &http::response::Parts) -> $crate::policy::Verdict {
                self.0.classify(response)
            }

            fn classify_body(
                &self,
                response: &http::response::Parts,
                body: &$crate::policy::BodyEvidence<'_>,
            ) -> $crate::policy::Verdict {
                self.0.classify_body(response, body)
            }

            fn exhausted_response(
                &self,
                exhausted: &$crate::pool::Exhausted,
            ) -> http::Response<bytes::Bytes> {
                self.0.exhausted_response(exhausted)
            }

            fn peek_timeout(&self) -> ::std::time::Duration {
                self.0.peek_timeout()
            }

            fn may_fail_late(&self, response: &http::response::Parts) -> bool {
                self.0.may_fail_late(response)
            }
        }

        impl From<$name> for $crate::policy::Provider {
            fn from(policy: $name) -> Self {
                policy.0
            }
        }
    };
}

pub(super) use policy;
