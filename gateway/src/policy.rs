//! The policy that `--provider` names.

use axum::http::HeaderName;
use tower_key_failover::delegate_policy;
#[cfg(feature = "grpc")]
use tower_key_failover::policy::Grpc;
use tower_key_failover::policy::{Byok, Provider, ProviderPolicy};

#[derive(Clone, Debug)]
pub enum Policy {
    Http(Provider),
    #[cfg(feature = "grpc")]
    Grpc(Grpc),
}

impl Policy {
    /// The policy with this name. `header:NAME` sends the key in that header.
    pub fn named(name: &str) -> Result<Self, String> {
        #[cfg(feature = "grpc")]
        if name == "grpc" {
            return Ok(Self::Grpc(Grpc::new()));
        }
        let provider = match name.split_once(':') {
            Some(("header", header)) => {
                let header = HeaderName::from_bytes(header.as_bytes());
                Provider::header(header.map_err(|error| error.to_string())?)
            }
            _ => Provider::named(name).ok_or_else(|| unknown(name))?,
        };
        Ok(Self::Http(provider))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(provider) => provider.name(),
            #[cfg(feature = "grpc")]
            Self::Grpc(_) => "grpc",
        }
    }

    pub fn byok(self, byok: Byok) -> Self {
        match self {
            Self::Http(provider) => Self::Http(provider.byok(byok)),
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => Self::Grpc(grpc.byok(byok)),
        }
    }

    fn inner(&self) -> &dyn ProviderPolicy {
        match self {
            Self::Http(provider) => provider,
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => grpc,
        }
    }
}

/// The message for an unknown provider, with the most similar name.
fn unknown(name: &str) -> String {
    let names = Provider::names().chain(cfg!(feature = "grpc").then_some("grpc"));
    let similarity = |other: &str| strsim::jaro_winkler(&name.to_ascii_lowercase(), other);
    let similar = names.map(|other| (similarity(other), other));
    match similar.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((similarity, other)) if similarity > 0.75 => {
            format!("no such provider; did you mean {other}?")
        }
        _ => "no such provider; try bearer or header:NAME".to_owned(),
    }
}

impl ProviderPolicy for Policy {
    delegate_policy!(|self| self.inner() =>
        is_byok, inject_key, scope, classify, classify_body, success, success_in_body,
        exhausted_response);
}
