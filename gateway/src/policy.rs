//! The policy that `--provider` names.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, Response, request, response};
#[cfg(feature = "grpc")]
use tower_key_failover::policy::Grpc;
use tower_key_failover::policy::{BodyEvidence, Byok, Provider, ProviderPolicy, Success, Verdict};
use tower_key_failover::pool::{Exhausted, Key};

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
            _ => Provider::named(name).ok_or("no such provider; try bearer or header:NAME")?,
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

impl ProviderPolicy for Policy {
    fn is_byok(&self, request: &request::Parts) -> bool {
        self.inner().is_byok(request)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        self.inner().inject_key(request, key);
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        self.inner().classify(response)
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        self.inner().classify_body(response, body)
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        self.inner().exhausted_response(exhausted)
    }

    fn success(&self, response: &response::Parts) -> Success {
        self.inner().success(response)
    }

    fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        self.inner().success_in_body(response, body)
    }

    fn peek_timeout(&self) -> Duration {
        self.inner().peek_timeout()
    }

    fn may_fail_late(&self, response: &response::Parts) -> bool {
        self.inner().may_fail_late(response)
    }
}
