//! Errors inside a 200: what the first event of a stream means.

use std::time::Duration;

use http::{Response, response};
use tower_key_failover::policy::{
    BodyEvidence, Mark, Provider, ProviderPolicy, ReadLimit, Reason, Success, Verdict,
};

fn head() -> response::Parts {
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(()).unwrap().into_parts().0
}

fn judge(provider: &str, stream: &str) -> Verdict {
    let policy = Provider::named(provider).unwrap();
    let gated = Verdict::Read(ReadLimit::commit_gate());
    assert_eq!(policy.classify(&head()), gated);
    assert_eq!(policy.success(&head()), Success::FirstEvent);
    policy.classify_body(&head(), &BodyEvidence::partial(stream.as_bytes()))
}

fn anthropic(kind: &str) -> Verdict {
    let event = format!(
        "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"m\"}}}}\n\n"
    );
    judge("anthropic", &event)
}

#[test]
fn an_anthropic_stream_can_start_with_an_error() {
    let hour = Some(Duration::from_secs(3600));
    for (kind, mark) in [
        (
            "rate_limit_error",
            Some(
                Mark::temporary(None)
                    .in_scope()
                    .because(Reason::RateLimited),
            ),
        ),
        (
            "authentication_error",
            Some(Mark::permanent().because(Reason::Unauthorized)),
        ),
        (
            "permission_error",
            Some(Mark::keep().because(Reason::Forbidden)),
        ),
        (
            "billing_error",
            Some(Mark::temporary(hour).because(Reason::Quota)),
        ),
        ("overloaded_error", None),
        ("api_error", None),
    ] {
        assert_eq!(
            anthropic(kind),
            mark.map_or(Verdict::Forward, Verdict::Failover),
            "{kind}"
        );
    }
}

#[test]
fn an_openrouter_stream_can_start_with_an_error_of_its_own_or_of_its_upstream() {
    let event = |error: &str| {
        format!(": OPENROUTER PROCESSING\n\ndata: {{\"id\":\"x\",\"error\":{error}}}\n\n")
    };
    let limited = judge("openrouter", &event(r#"{"code":429,"message":"limit"}"#));
    assert!(matches!(limited, Verdict::Failover(_)), "{limited:?}");
    let upstream = r#"{"code":429,"message":"m","metadata":{"provider_name":"P"}}"#;
    assert_eq!(judge("openrouter", &event(upstream)), Verdict::Forward);
    let failed = judge("openrouter", &event(r#"{"code":502,"message":"m"}"#));
    assert_eq!(failed, Verdict::Forward);
}

#[test]
fn events_that_are_no_errors_or_unreadable_are_forwarded() {
    for stream in [
        "event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
        "data: not json\n\n",
        "data: {\"error\":{\"type\":\"rate_limit_error\"}",
        "",
    ] {
        assert_eq!(judge("anthropic", stream), Verdict::Forward, "{stream}");
    }
}

#[test]
fn streams_of_other_providers_are_not_inspected() {
    for provider in ["openai", "gemini", "bearer"] {
        let policy = Provider::named(provider).unwrap();
        assert_eq!(policy.classify(&head()), Verdict::Forward);
        assert_eq!(policy.success(&head()), Success::Yes);
    }
}

#[test]
fn the_head_of_a_compressed_stream_proves_no_success_if_the_stream_may_begin_with_an_error() {
    let compressed = || {
        let mut head = head();
        let gzip = http::HeaderValue::from_static("gzip");
        head.headers.insert("content-encoding", gzip);
        head
    };
    let success = |provider| {
        let policy = Provider::named(provider).unwrap();
        policy.success(&compressed())
    };
    assert_eq!(success("anthropic"), Success::No);
    assert_eq!(success("openai"), Success::Yes);
}
