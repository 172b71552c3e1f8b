//! Where a user's own rules replace a policy's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Response, StatusCode, request, response};
use serde_json::json;
use test_support::verdict::{Does, head, judge, judge_evidence, judge_json};
use tower_key_failover::policy::{
    BodyEvidence, Mark, Provider, ProviderPolicy, ReadLimit, Scope, Success, Verdict,
};
use tower_key_failover::pool::{Exhausted, Key};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn five_minutes() -> Verdict {
    Verdict::Failover(Mark::temporary(Some(FIVE_MINUTES)))
}

#[test]
fn on_unauthorized_decides_a_401_unless_the_key_is_known_to_work() {
    let openai = Provider::openai().on_unauthorized(five_minutes());
    let invalid = json!({ "error": { "code": "invalid_api_key", "message": "Incorrect API key" } });
    let scope = json!({ "error": { "message": "Missing scopes: model.request" } });
    assert_eq!(judge_json(&openai, 401, &[], invalid), five_minutes());
    assert_eq!(judge(&openai, &head(401, &[]), b"<html>"), five_minutes());
    assert!(Does::Keep.is(judge_json(&openai, 401, &[], scope)));

    let anthropic = Provider::anthropic().on_unauthorized(five_minutes());
    assert_eq!(anthropic.classify(&head(401, &[])), five_minutes());
    // Another status is another question.
    let held = json!({ "error": { "details": { "error_code": "organization_on_hold" } } });
    assert!(Does::Permanent.is(judge_json(&anthropic, 400, &[], held)));
    assert!(Does::Suspect.is(judge(&anthropic, &head(403, &[]), b"")));
}

#[test]
fn on_forbidden_decides_a_403_unless_the_key_is_known_to_work() {
    let gemini = Provider::gemini().on_forbidden(five_minutes());
    let denied = json!({ "error": { "status": "PERMISSION_DENIED" } });
    let suspended = json!({ "error": { "details": [{ "reason": "CONSUMER_SUSPENDED" }] } });
    assert_eq!(judge(&gemini, &head(403, &[]), b""), five_minutes());
    assert_eq!(judge_json(&gemini, 403, &[], suspended), five_minutes());
    assert!(Does::Keep.is(judge_json(&gemini, 403, &[], denied)));
    assert!(Does::Forward.is(judge(&gemini, &head(403, &[]), b"<!DOCTYPE html>")));
    let undecodable = BodyEvidence::unreadable();
    assert_eq!(
        judge_evidence(&gemini, &head(403, &[]), &undecodable),
        five_minutes()
    );
}

#[test]
fn an_override_that_asks_for_the_body_forwards() {
    let policy = Provider::bearer()
        .on_unauthorized(Verdict::Read(ReadLimit::refusal()))
        .on_forbidden(Verdict::Read(ReadLimit::available()));
    assert_eq!(policy.classify(&head(401, &[])), Verdict::Forward);
    assert_eq!(judge(&policy, &head(403, &[]), b""), Verdict::Forward);
}

#[test]
fn quota_cooldown_applies_unless_the_response_names_a_reset() {
    let policy = Provider::named("deepseek")
        .unwrap()
        .quota_cooldown(FIVE_MINUTES);
    assert!(Does::millis(300_000).is(policy.classify(&head(402, &[]))));
    assert!(Does::millis(7000).is(policy.classify(&head(402, &[("retry-after", "7")]))));
    // A burst is none.
    assert!(Does::Temporary(None).is(judge(&policy, &head(429, &[]), b"")));
}

#[test]
fn a_402_is_a_quota_only_for_providers_that_document_it() {
    for (provider, is_quota) in [
        ("anthropic", true),
        ("gemini", true),
        ("mistral", true),
        ("deepseek", true),
        ("openrouter", true),
        ("cohere", true),
        ("together", true),
        ("copilot", true),
        ("openai", false),
        ("azure_openai", false),
        ("vertex", false),
        ("bedrock", false),
        ("groq", false),
        ("xai", false),
        ("perplexity", false),
        ("bearer", false),
    ] {
        let policy = Provider::named(provider).unwrap();
        let verdict = judge(&policy, &head(402, &[]), b"{}");
        let expected = if is_quota {
            Does::millis(3_600_000)
        } else {
            Does::Forward
        };
        assert!(expected.is(verdict), "{provider}: {verdict:?}");
    }
}

type Seen = Arc<Mutex<Vec<(u16, Verdict)>>>;

/// A rule that notes what it sees and says `says`.
fn noting(policy: impl ProviderPolicy, says: Verdict) -> (impl ProviderPolicy, Seen) {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let policy = policy.map_verdict(move |head: &response::Parts, _, verdict| {
        notes.lock().unwrap().push((head.status.as_u16(), verdict));
        says
    });
    (policy, seen)
}

#[test]
fn map_verdict_sees_each_final_verdict_once() {
    let (policy, seen) = noting(Provider::openai(), five_minutes());
    assert_eq!(judge(&policy, &head(200, &[]), b""), five_minutes());
    assert_eq!(judge(&policy, &head(401, &[]), b""), five_minutes());
    let permanent = Verdict::Failover(Mark::permanent());
    assert_eq!(
        *seen.lock().unwrap(),
        [(200, Verdict::Forward), (401, permanent)]
    );
}

#[test]
fn a_rule_can_ask_for_the_body_once() {
    let read = Verdict::Read(ReadLimit::refusal());
    let (policy, _) = noting(Provider::openai(), read);
    assert_eq!(policy.classify(&head(200, &[])), read);
    assert_eq!(judge(&policy, &head(401, &[]), b""), Verdict::Forward);
}

/// Never done asking.
struct Insatiable;

impl ProviderPolicy for Insatiable {
    fn is_byok(&self, _: &request::Parts) -> bool {
        false
    }

    fn inject_key(&self, _: &mut request::Parts, _: &Key) {}

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, _: &response::Parts) -> Verdict {
        Verdict::Read(ReadLimit::available())
    }

    fn classify_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> Verdict {
        Verdict::Read(ReadLimit::refusal())
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, _: &Exhausted) -> Response<bytes::Bytes> {
        Response::default()
    }
}

#[test]
fn map_verdict_works_with_any_policy() {
    let (policy, seen) = noting(Insatiable, five_minutes());
    let head = head(200, &[]);
    assert_eq!(
        policy.classify(&head),
        Verdict::Read(ReadLimit::available())
    );
    assert_eq!(
        policy.classify_body(&head, &BodyEvidence::complete(b"")),
        five_minutes()
    );
    assert_eq!(*seen.lock().unwrap(), [(200, Verdict::Forward)]);

    let boxed: Box<dyn ProviderPolicy> = Box::new(Provider::bearer());
    let (policy, seen) = noting(Arc::new(boxed), Verdict::Forward);
    assert_eq!(
        policy.classify(&test_support::verdict::head(429, &[])),
        Verdict::Forward
    );
    assert_eq!(seen.lock().unwrap().len(), 1);
    let exhausted = Exhausted {
        kind: tower_key_failover::pool::ExhaustedKind::RateLimited,
        retry_after: None,
    };
    let response = policy.exhausted_response(&exhausted);
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
}
