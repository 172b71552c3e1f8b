//! The policy that `--provider` names, and the requests that `--byok` names.

use std::str::FromStr;

use axum::http::{HeaderName, request};
use tower_key_failover::delegate_policy;
#[cfg(feature = "grpc")]
use tower_key_failover::policy::Grpc;
use tower_key_failover::policy::{Byok, Provider, ProviderPolicy, Scope};
use tower_key_failover::pool::KeyChoice;

use crate::duration::Time;
use crate::refusal::Refusal;
use crate::request_choice::ScopeSource;
use crate::settings::RouteSettings;
use crate::suggestion::similar;

#[derive(Clone, Debug)]
pub struct Policy {
    protocol: Protocol,
    /// The NAME of `header:NAME`.
    key_header: Option<HeaderName>,
    scope: ScopeSource,
}

#[derive(Clone, Debug)]
enum Protocol {
    Http(Provider),
    #[cfg(feature = "grpc")]
    Grpc(Grpc),
}

impl From<Protocol> for Policy {
    fn from(protocol: Protocol) -> Self {
        Self {
            protocol,
            key_header: None,
            scope: ScopeSource::Auto,
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    /// The policy with this name. `header:NAME` sends the key in that header.
    fn from_str(name: &str) -> Result<Self, String> {
        #[cfg(feature = "grpc")]
        if name == "grpc" {
            return Ok(Protocol::Grpc(Grpc::new()).into());
        }
        let provider = match name.split_once(':') {
            Some(("header", header)) => {
                let header = HeaderName::from_bytes(header.as_bytes());
                let header = header.map_err(|error| error.to_string())?;
                let protocol = Protocol::Http(Provider::header(header.clone()));
                return Ok(Self {
                    key_header: Some(header),
                    ..protocol.into()
                });
            }
            _ => Provider::named(name).ok_or_else(|| unknown(name))?,
        };
        Ok(Protocol::Http(provider).into())
    }
}

impl Policy {
    pub fn name(&self) -> &'static str {
        match &self.protocol {
            Protocol::Http(provider) => provider.name(),
            #[cfg(feature = "grpc")]
            Protocol::Grpc(_) => "grpc",
        }
    }

    /// The header of the key, with `header:NAME`.
    pub fn key_header(&self) -> Option<&HeaderName> {
        self.key_header.as_ref()
    }

    /// Whether the clients of the provider always bring their own key.
    pub fn is_byok_only(&self) -> bool {
        self.name() == "copilot"
    }

    pub fn byok(mut self, ByokMode(byok): ByokMode) -> Self {
        self.protocol = match self.protocol {
            Protocol::Http(provider) => Protocol::Http(provider.byok(byok)),
            #[cfg(feature = "grpc")]
            Protocol::Grpc(grpc) => Protocol::Grpc(grpc.byok(byok)),
        };
        self
    }

    /// Applies what the settings say about refusals.
    pub fn refusals(mut self, settings: &RouteSettings) -> Self {
        macro_rules! apply {
            ($policy:expr) => {{
                let mut policy = $policy;
                if let Some(Refusal(verdict)) = settings.on_unauthorized {
                    policy = policy.on_unauthorized(verdict);
                }
                if let Some(Refusal(verdict)) = settings.on_forbidden {
                    policy = policy.on_forbidden(verdict);
                }
                if let Some(Time(cooldown)) = settings.quota_cooldown {
                    policy = policy.quota_cooldown(cooldown);
                }
                policy
            }};
        }
        self.protocol = match self.protocol {
            Protocol::Http(provider) => Protocol::Http(apply!(provider)),
            #[cfg(feature = "grpc")]
            Protocol::Grpc(grpc) => Protocol::Grpc(apply!(grpc)),
        };
        self
    }

    pub fn scope_from(mut self, scope: ScopeSource) -> Self {
        self.scope = scope;
        self
    }

    fn inner(&self) -> &dyn ProviderPolicy {
        match &self.protocol {
            Protocol::Http(provider) => provider,
            #[cfg(feature = "grpc")]
            Protocol::Grpc(grpc) => grpc,
        }
    }
}

/// Which requests bring a key of their own.
#[derive(Clone, Debug)]
pub struct ByokMode(Byok);

impl FromStr for ByokMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("prefix:")) {
            ("detect", _) => Ok(Self(Byok::Detect)),
            ("never", _) => Ok(Self(Byok::Never)),
            (_, Some(prefix)) if !prefix.is_empty() => Ok(Self(Byok::prefixes([prefix]))),
            _ => Err("expected detect, never or prefix:P".to_owned()),
        }
    }
}

/// The message for an unknown provider, with the most similar name.
fn unknown(name: &str) -> String {
    let names = Provider::names().chain(cfg!(feature = "grpc").then_some("grpc"));
    match similar(name, names) {
        Some(other) => format!("no such provider; did you mean {other}?"),
        None => "no such provider; try bearer or header:NAME".to_owned(),
    }
}

impl ProviderPolicy for Policy {
    delegate_policy!(|self| self.inner() =>
        is_byok, inject_key, classify, classify_body, success, success_in_body,
        exhausted_response);

    fn scope(&self, head: &request::Parts) -> Option<Scope> {
        match self.scope {
            ScopeSource::Auto => self.inner().scope(head),
            ScopeSource::Off => None,
            ScopeSource::Header(_) => head.extensions.get::<KeyChoice>()?.scope_ref().cloned(),
        }
    }
}
