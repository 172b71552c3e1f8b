//! Upstream responses, and a policy's verdicts on them.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use tower_key_failover::policy::{BodyEvidence, MarkKind, ProviderPolicy, Verdict};

/// The head of a response. Header names may be in any case.
pub fn head(status: u16, headers: &[(&str, &str)]) -> response::Parts {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        response.headers_mut().append(name, value);
    }
    response.into_parts().0
}

/// What the policy says at last, as the layer asks it.
pub fn judge(policy: &dyn ProviderPolicy, head: &response::Parts, body: &[u8]) -> Verdict {
    judge_evidence(policy, head, &BodyEvidence::complete(body))
}

pub fn judge_evidence(
    policy: &dyn ProviderPolicy,
    head: &response::Parts,
    body: &BodyEvidence<'_>,
) -> Verdict {
    match policy.classify(head) {
        Verdict::Read(_) => policy.classify_body(head, body),
        verdict => verdict,
    }
}

/// Judges a response with a JSON body.
pub fn judge_json(
    policy: &dyn ProviderPolicy,
    status: u16,
    headers: &[(&str, &str)],
    body: serde_json::Value,
) -> Verdict {
    judge(policy, &head(status, headers), body.to_string().as_bytes())
}

/// What a verdict does, whatever reason it gives and however far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Forward,
    Keep,
    Suspect,
    /// With the pool's default cooldown where there is no wait.
    Temporary(Option<Duration>),
    Permanent,
}

impl Does {
    pub fn millis(millis: u64) -> Self {
        Self::Temporary(Some(Duration::from_millis(millis)))
    }

    /// Whether this is what `verdict` does.
    pub fn is(self, verdict: Verdict) -> bool {
        let kind = match self {
            Self::Forward => return verdict == Verdict::Forward,
            Self::Keep => MarkKind::Keep,
            Self::Suspect => MarkKind::Suspect,
            Self::Temporary(wait) => MarkKind::Temporary(wait),
            Self::Permanent => MarkKind::Permanent,
        };
        matches!(verdict, Verdict::Failover(mark) if mark.kind() == kind)
    }
}
