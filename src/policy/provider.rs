//! The built-in policies: one implementation, and a constructor for each provider.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, request, response};

use super::byok::Byok;
use super::credentials::Credentials;
use super::dialect::{Dialect, Finding, Reach};
use super::error_response::ErrorResponse;
use super::judge::{self, Judge};
use super::{
    BodyEvidence, ProviderPolicy, ReadLimit, Success, Verdict, exhausted_response, providers,
    scope_in_path,
};
use crate::pool::{Exhausted, Key, KeyChoice, Scope};
use crate::sse;

/// A built-in policy.
///
/// There is a constructor for each provider. [`bearer`](Self::bearer) and [`header`](Self::header)
/// are for any other provider, and [`named`](Self::named) takes a name from a configuration file.
/// All policies have the same settings.
///
/// ```
/// use std::time::Duration;
/// use http::{Response, StatusCode};
/// use tower_key_failover::policy::{Mark, Provider, ProviderPolicy, ReadLimit, Verdict};
///
/// let groq = Provider::groq()
///     .on_forbidden(Verdict::Failover(Mark::keep()))
///     .quota_cooldown(Duration::from_secs(6 * 60 * 60));
///
/// let mut response = Response::new(());
/// *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
/// // Groq's body says what a 429 means and how long it lasts.
/// assert_eq!(groq.classify(&response.into_parts().0), Verdict::Read(ReadLimit::refusal()));
/// ```
#[derive(Clone)]
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub struct Provider {
    dialect: &'static Dialect,
    credentials: Credentials,
    byok: Byok,
    judge: Judge,
}

impl Provider {
    fn new(dialect: &'static Dialect) -> Self {
        Self::with(dialect, Credentials::new(&dialect.places))
    }

    fn with(dialect: &'static Dialect, credentials: Credentials) -> Self {
        Self {
            dialect,
            credentials,
            byok: Byok::Detect,
            judge: Judge::default(),
        }
    }

    /// Anthropic: `x-api-key: <key>`.
    ///
    /// An empty balance, a spend limit and an organization on hold are 400s. A 403 concerns one
    /// resource, unless the OAuth token itself was revoked. Newer SDKs send keys in
    /// `authorization`, like OAuth tokens, so that header counts as the caller's own credential
    /// too. The `oauth-2025-04-20` item of `anthropic-beta` is removed together with it.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A 403 for one resource keeps the key.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"type":"permission_error","message":"No access to this file"}}"#,
    /// );
    /// let verdict = Provider::anthropic().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::keep()));
    /// ```
    pub fn anthropic() -> Self {
        Self::new(providers::ANTHROPIC)
    }

    /// OpenAI: `authorization: Bearer <key>`.
    ///
    /// An exhausted quota is a 429 with a `type` and `code` of its own. A 401 for a missing scope or
    /// for a network that is not allowed leaves the key unchanged.
    ///
    /// The caller's `openai-organization` and `openai-project` are removed together with its
    /// credential, because they belong to its account.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A 403 for a model concerns only requests with this scope.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"code":"model_not_found"}}"#,
    /// );
    /// let verdict = Provider::openai().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::keep().in_scope()));
    /// ```
    pub fn openai() -> Self {
        Self::new(providers::OPENAI)
    }

    /// Azure OpenAI: `api-key: <key>`.
    ///
    /// A key belongs to one resource. A key of another resource gets the same response as a wrong
    /// key. A 401 for a missing role and a 403 from a network rule leave the key unchanged.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A missing role is not a wrong key.
    /// let (head, ()) = Response::builder().status(401).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"code":"PermissionDenied"}}"#,
    /// );
    /// let verdict = Provider::azure_openai().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::keep()));
    /// ```
    pub fn azure_openai() -> Self {
        Self::new(providers::AZURE_OPENAI)
    }

    /// Gemini of Google AI Studio: `x-goog-api-key: <key>`.
    ///
    /// A bad key is a 400 whose details contain a `reason`. A daily limit lasts until midnight in
    /// Los Angeles, whatever `RetryInfo` says. A `?key=` and a bearer token count as the caller's
    /// own credential too.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // The project behind the key is suspended.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"details":[{"reason":"CONSUMER_SUSPENDED"}]}}"#,
    /// );
    /// let verdict = Provider::gemini().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::permanent()));
    /// ```
    pub fn gemini() -> Self {
        Self::new(providers::GEMINI)
    }

    /// Vertex AI: `authorization: Bearer <token>`.
    ///
    /// A 429 without details means that the region, which all keys share, has no capacity. It is
    /// forwarded.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy, Verdict};
    ///
    /// // The region has no capacity.
    /// let (head, ()) = Response::builder().status(429).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"message":"Resource exhausted. Please try again later."}}"#,
    /// );
    /// let verdict = Provider::vertex().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Forward);
    /// ```
    pub fn vertex() -> Self {
        Self::new(providers::VERTEX)
    }

    /// Amazon Bedrock with API keys: `authorization: Bearer <key>`.
    ///
    /// The error's type decides, not its status: a quota is a 400, and a model that is not ready
    /// is a 429. A caller's SigV4 signature counts as its own credential, and is removed when a
    /// key of the pool is used.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // An expired key.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"message":"Bearer Token has expired"}"#,
    /// );
    /// let verdict = Provider::bedrock().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::permanent()));
    /// ```
    pub fn bedrock() -> Self {
        Self::new(providers::BEDROCK)
    }

    /// Mistral: `authorization: Bearer <key>`.
    ///
    /// A revoked key and an exhausted plan get the same 401. If the plans of your keys can run out,
    /// use [`on_unauthorized`](Self::on_unauthorized) to start a cooldown instead of a permanent mark.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy, Verdict};
    ///
    /// // The model has no capacity.
    /// let (head, ()) = Response::builder().status(429).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"type":"service_tier_capacity_exceeded"}"#,
    /// );
    /// let verdict = Provider::mistral().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Forward);
    /// ```
    pub fn mistral() -> Self {
        Self::new(providers::MISTRAL)
    }

    /// Groq: `authorization: Bearer <key>`.
    ///
    /// A 413 with the code of a rate limit is forwarded, because the request exceeds the limit by
    /// itself.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // No wait makes this request fit the limit of the key.
    /// let (head, ()) = Response::builder().status(429).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"message":"Limit 6000, Requested 7212"}}"#,
    /// );
    /// let verdict = Provider::groq().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::keep()));
    /// ```
    pub fn groq() -> Self {
        Self::new(providers::GROQ)
    }

    /// DeepSeek: `authorization: Bearer <key>`.
    ///
    /// An empty balance is a 402, whatever its body says.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A wrong key.
    /// let (head, ()) = Response::builder().status(401).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"type":"authentication_error"}}"#,
    /// );
    /// let verdict = Provider::deepseek().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::permanent()));
    /// ```
    pub fn deepseek() -> Self {
        Self::new(providers::DEEPSEEK)
    }

    /// OpenRouter: `authorization: Bearer <key>`.
    ///
    /// The error's `metadata` decides. A 429 of the provider that OpenRouter forwards to and a 403 of
    /// its moderation do not concern the key. A 402 and a 403 that name a budget concern it.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy, Verdict};
    ///
    /// // Moderation concerns the request.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"metadata":{"reasons":["violence"]}}}"#,
    /// );
    /// let verdict = Provider::openrouter().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Forward);
    /// ```
    pub fn openrouter() -> Self {
        Self::new(providers::OPENROUTER)
    }

    /// Cohere: `authorization: Bearer <key>`.
    ///
    /// A trial key's monthly limit is an exhausted quota. A 498 concerns the content, and is
    /// forwarded.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A 403 for a model concerns only requests with this scope.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"message":"You have no access to this model"}"#,
    /// );
    /// let verdict = Provider::cohere().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::keep().in_scope()));
    /// ```
    pub fn cohere() -> Self {
        Self::new(providers::COHERE)
    }

    /// xAI: `authorization: Bearer <key>`.
    ///
    /// A bad key is a 400, and used-up credit is a 429 or a 403. Several cases share one `code`,
    /// so the message decides.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A 403 for a model concerns only requests with this scope.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":"Your team has no access to the model grok-x."}"#,
    /// );
    /// let verdict = Provider::xai().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::keep().in_scope()));
    /// ```
    pub fn xai() -> Self {
        Self::new(providers::XAI)
    }

    /// Together: `authorization: Bearer <key>`.
    ///
    /// A 403 means that the request is too long for the model.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy, Verdict};
    ///
    /// // The request is too long for the model.
    /// let (head, ()) = Response::builder().status(403).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"type":"invalid_request_error"}}"#,
    /// );
    /// let verdict = Provider::together().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Forward);
    /// ```
    pub fn together() -> Self {
        Self::new(providers::TOGETHER)
    }

    /// Perplexity: `authorization: Bearer <key>`.
    ///
    /// A bad key gets a 401 in HTML. A 401 of the type `insufficient_quota` is an exhausted quota.
    ///
    /// ```
    /// use http::Response;
    /// use tower_key_failover::policy::{BodyEvidence, Mark, Provider, ProviderPolicy, Verdict};
    ///
    /// // A wrong key.
    /// let (head, ()) = Response::builder().status(401).body(()).unwrap().into_parts();
    /// let body = BodyEvidence::complete(
    ///     br#"{"error":{"type":"invalid_api_key"}}"#,
    /// );
    /// let verdict = Provider::perplexity().classify_body(&head, &body);
    /// assert_eq!(verdict, Verdict::Failover(Mark::permanent()));
    /// ```
    pub fn perplexity() -> Self {
        Self::new(providers::PERPLEXITY)
    }

    /// GitHub Copilot, whose clients always bring their own token.
    ///
    /// Every request counts as one with its own credential, even with another
    /// [`byok`](Self::byok). The layer needs no pool: see
    /// [`KeyFailoverLayer::disabled`](crate::KeyFailoverLayer::disabled).
    ///
    /// ```
    /// use http::Request;
    /// use tower_key_failover::policy::{Provider, ProviderPolicy};
    ///
    /// let (head, ()) = Request::new(()).into_parts();
    /// assert!(Provider::copilot().is_byok(&head));
    /// ```
    pub fn copilot() -> Self {
        Self::new(providers::COPILOT)
    }

    /// Any provider that accepts `authorization: Bearer <key>`.
    ///
    /// The status and the [waits](crate::policy#waits) in the headers decide. The policy reads no body except
    /// that of a 403, which shows whether an [edge](crate::policy#the-trust-table) sent it.
    ///
    /// ```
    /// use tower_key_failover::policy::Provider;
    /// use tower_key_failover::{KeyFailoverLayer, KeyPool};
    ///
    /// # fn main() -> Result<(), tower_key_failover::BuildError> {
    /// let pool = KeyPool::new(["first-key", "second-key"])?;
    /// let layer = KeyFailoverLayer::new(Provider::bearer(), pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bearer() -> Self {
        Self::new(providers::BEARER)
    }

    /// Any provider that accepts the key alone in the header `name`.
    ///
    /// The status and the [waits](crate::policy#waits) in the headers decide. The policy reads no body except
    /// that of a 403, which shows whether an [edge](crate::policy#the-trust-table) sent it.
    ///
    /// ```
    /// use http::{HeaderName, Request};
    /// use tower_key_failover::KeyPool;
    /// use tower_key_failover::policy::{Provider, ProviderPolicy};
    ///
    /// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
    /// let policy = Provider::header(HeaderName::from_static("x-token"));
    /// let key = KeyPool::new(["first-key"])?.walker().next_key().unwrap();
    ///
    /// let mut request = Request::new(()).into_parts().0;
    /// policy.inject_key(&mut request, &key);
    /// assert_eq!(request.headers["x-token"], "first-key");
    /// # Ok(())
    /// # }
    /// ```
    pub fn header(name: HeaderName) -> Self {
        let dialect = providers::HEADER;
        Self::with(dialect, Credentials::in_header(&dialect.places, name))
    }

    /// The provider with this name in a configuration file, if [`names`](Self::names) contains it.
    ///
    /// ```
    /// use tower_key_failover::policy::Provider;
    ///
    /// assert_eq!(Provider::named("groq").unwrap().name(), "groq");
    /// assert!(Provider::named("nobody").is_none());
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        let dialect = providers::NAMED.iter().find(|it| it.name == name)?;
        Some(Self::new(dialect))
    }

    /// The names that [`named`](Self::named) accepts, in alphabetical order: the name of each
    /// provider, and `bearer`. [`header`](Self::header) is not among them, because it takes an
    /// argument.
    ///
    /// ```
    /// use tower_key_failover::policy::Provider;
    ///
    /// assert!(Provider::names().any(|name| name == "azure_openai"));
    /// assert!(Provider::names().all(|name| Provider::named(name).is_some()));
    /// ```
    pub fn names() -> impl Iterator<Item = &'static str> {
        providers::NAMED.iter().map(|dialect| dialect.name)
    }

    /// The provider's name in configuration files. For [`header`](Self::header), `"header"`.
    pub fn name(&self) -> &'static str {
        self.dialect.name
    }

    /// Sets what a 401 means if it says that the key is dead, or gives no reason. Default: the key is
    /// permanently marked.
    ///
    /// If a request has succeeded with the key since it was added or returned, the layer changes the
    /// permanent mark to a [suspicion](crate::guides::recovery#suspicion).
    ///
    /// [`Verdict::Read`] counts as [`Verdict::Forward`].
    #[must_use]
    pub fn on_unauthorized(mut self, verdict: Verdict) -> Self {
        self.judge.on_unauthorized = Some(verdict.or_forward());
        self
    }

    /// Sets what a 403 means if it says that the key is dead, gives no reason, or has an incomplete or
    /// unreadable body. Default: a dead key is permanently marked, a 403 without a reason makes the
    /// key suspected, and an incomplete or unreadable body leaves it unchanged.
    ///
    /// [`Verdict::Read`] counts as [`Verdict::Forward`].
    #[must_use]
    pub fn on_forbidden(mut self, verdict: Verdict) -> Self {
        self.judge.on_forbidden = Some(verdict.or_forward());
        self
    }

    /// Sets how long a key cools down after its credit, plan or budget is used up, if the response
    /// names no reset. Default: one hour.
    #[must_use]
    pub fn quota_cooldown(mut self, cooldown: Duration) -> Self {
        self.judge.quota_cooldown = cooldown;
        self
    }

    /// Sets which requests bring their own credential. Default: [`Byok::Detect`].
    #[must_use]
    pub fn byok(mut self, byok: Byok) -> Self {
        self.byok = byok;
        self
    }

    fn verdict(&self, response: &ErrorResponse<'_>) -> Verdict {
        self.judge.verdict(response, self.finding(response))
    }

    fn finding(&self, response: &ErrorResponse<'_>) -> Option<Finding> {
        // The edge's own statuses. Others, such as a 401 in HTML, are the provider's.
        let is_refusal = match response.status() {
            StatusCode::FORBIDDEN => true,
            status => status == StatusCode::TOO_MANY_REQUESTS && self.inspects(status),
        };
        if is_refusal && response.is_from_edge() {
            return Some(Finding::NotTheKey);
        }
        let finding = if self.inspects(response.status()) {
            (self.dialect.finding)(response)
        } else {
            None
        };
        let unpaid =
            response.status() == StatusCode::PAYMENT_REQUIRED && self.dialect.bills_with_402;
        finding.or(unpaid.then_some(Finding::Quota(Reach::Account, None)))
    }

    /// Whether the first event of the stream may be an error.
    fn may_fail_late(&self, response: &response::Parts) -> bool {
        self.streams_errors() && sse::is_plain_stream(&response.headers)
    }

    /// Whether a stream can begin with an error.
    fn streams_errors(&self) -> bool {
        self.dialect.status_of_event.is_some()
    }

    fn inspects(&self, status: StatusCode) -> bool {
        self.dialect.inspects.contains(&status.as_u16())
    }
}

impl ProviderPolicy for Provider {
    fn is_byok(&self, request: &request::Parts) -> bool {
        self.dialect.byok_only || self.byok.applies(self.credentials.presented(request))
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        self.credentials.inject(request, key);
    }

    fn scope(&self, request: &request::Parts) -> Option<Scope> {
        let in_path = scope_in_path::scope(request.uri.path(), self.dialect.scope_in_path);
        in_path.or_else(|| KeyChoice::of(request)?.scope_ref().cloned())
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        if response.status.is_success() {
            return if self.may_fail_late(response) {
                Verdict::Read(ReadLimit::commit_gate())
            } else {
                Verdict::Forward
            };
        }
        let error = ErrorResponse::of_head(response);
        // HTML says no more than its status.
        if self.inspects(response.status) && !error.is_from_edge() {
            Verdict::Read(ReadLimit::refusal())
        } else {
            self.verdict(&error)
        }
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        if !response.status.is_success() {
            return self.verdict(&ErrorResponse::new(response, body));
        }
        let Some(status_of_event) = self.dialect.status_of_event else {
            return Verdict::Forward;
        };
        let event = ErrorResponse::of_first_event(response, body);
        match status_of_event(&event) {
            Some(status) => {
                let verdict = self.verdict(&event.with_status(status));
                judge::with_reason_of(status, verdict)
            }
            None => Verdict::Forward,
        }
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        exhausted_response::response(exhausted, self.dialect.exhausted)
    }

    fn success(&self, response: &response::Parts) -> Success {
        match Success::of_status(response.status) {
            Success::Yes if self.may_fail_late(response) => Success::FirstEvent,
            // Its first event can be an error as well, but is compressed.
            Success::Yes if self.streams_errors() && sse::is_stream(&response.headers) => {
                Success::No
            }
            success => success,
        }
    }

    fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        // Part of an event proves nothing.
        sse::first_data(body.readable()).is_some()
            && self.classify_body(response, body) == Verdict::Forward
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.dialect.name)
            .field("header", self.credentials.header())
            .field("byok", &self.byok)
            .field("on_unauthorized", &self.judge.on_unauthorized)
            .field("on_forbidden", &self.judge.on_forbidden)
            .field("quota_cooldown", &self.judge.quota_cooldown)
            .finish()
    }
}
