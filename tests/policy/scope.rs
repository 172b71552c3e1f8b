//! The scope of a request, and which marks are limited to it.

use std::sync::Arc;

use http::{Request, request};
use proptest::prelude::*;
use serde_json::json;
use test_support::verdict::{head, judge, judge_evidence, judge_json};
use tower_key_failover::policy::{BodyEvidence, Mark, MarkKind, Provider, ProviderPolicy, Verdict};
use tower_key_failover::pool::{KeyChoice, Scope};

fn request(path: &str, scope: Option<&str>) -> request::Parts {
    let mut request = Request::post(path).body(()).unwrap();
    if let Some(scope) = scope {
        let choice = KeyChoice::new().scope(Scope::new(scope).unwrap());
        request.extensions_mut().insert(choice);
    }
    request.into_parts().0
}

fn scope_of(policy: &dyn ProviderPolicy, path: &str, scope: Option<&str>) -> Option<String> {
    let scope = policy.scope(&request(path, scope));
    scope.map(|scope| scope.as_str().to_owned())
}

#[test]
fn the_path_names_the_scope_for_providers_with_the_model_in_the_path() {
    for (provider, path, expected) in [
        (
            "gemini",
            "/v1beta/models/gemini-2.5-pro:generateContent",
            "gemini-2.5-pro",
        ),
        (
            "vertex",
            "/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
            "projects/p/locations/l/publishers/google/models/m",
        ),
        (
            "azure_openai",
            "/openai/deployments/mine/chat/completions?api-version=1",
            "mine",
        ),
        (
            "bedrock",
            "/model/anthropic.claude-v2%3A1/invoke",
            "anthropic.claude-v2:1",
        ),
    ] {
        let policy = Provider::named(provider).unwrap();
        let expected = Some(expected.to_owned());
        assert_eq!(scope_of(&policy, path, None), expected, "{provider}");
        // The path outranks the extension.
        assert_eq!(
            scope_of(&policy, path, Some("other")),
            expected,
            "{provider}"
        );
        let absolute = format!("https://upstream.test{path}");
        assert_eq!(scope_of(&policy, &absolute, None), expected, "{provider}");
    }
}

/// A path of each kind, around the name of a model.
const PATHS: [(&str, &str, &str); 4] = [
    ("gemini", "/v1beta/models/", ":generateContent"),
    ("vertex", "/v1/projects/", "/models/m:generateContent"),
    ("azure_openai", "/openai/deployments/", "/chat/completions"),
    ("bedrock", "/model/", "/converse"),
];

proptest! {
    #[test]
    fn any_bytes_of_a_name_in_the_path_are_decoded_once_and_are_a_scope_if_they_are_a_valid_one(
        name in prop::collection::vec(any::<u8>(), 0..140), encodes_all: bool,
    ) {
        let encoded: String = name.iter().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() && !encodes_all => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        }).collect();
        for (provider, start, end) in PATHS {
            let policy = Provider::named(provider).unwrap();
            let path = format!("{start}{encoded}{end}");
            let scope = scope_of(&policy, &path, None);
            let expected = match provider {
                "vertex" => [&b"projects/"[..], &name, b"/models/m"].concat(),
                _ => name.clone(),
            };
            let expected = std::str::from_utf8(&expected).ok().and_then(Scope::new);
            // A name of which every byte is encoded can be too long even if the scope is not.
            if scope.is_some() || path.len() < 300 {
                prop_assert_eq!(scope, expected.map(|scope| scope.as_str().to_owned()), "{}", path);
            }
        }
    }

    #[test]
    fn any_path_and_extension_lead_to_a_valid_scope_or_none(
        parts in prop::collection::vec(part(), 0..12), extension in "[ -~]{1,128}",
    ) {
        let path = format!("/{}", parts.concat());
        for name in Provider::names() {
            let policy = Provider::named(name).unwrap();
            let found = scope_of(&policy, &path, None);
            prop_assert!(found.as_deref().is_none_or(|scope| Scope::new(scope).is_some()), "{}", path);
            let with_extension = scope_of(&policy, &path, Some(&extension));
            prop_assert_eq!(with_extension, found.or(Some(extension.clone())));
        }
    }
}

fn part() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "/",
        "//",
        ":",
        "%",
        "%2F",
        "%00",
        "%ff",
        "models",
        "tunedModels",
        "model",
        "deployments",
        "projects",
        "publishers",
        "endpoints",
        "openai",
        "?a=/models/b",
    ];
    prop_oneof![
        prop::sample::select(KNOWN).prop_map(str::to_owned),
        "[a-zA-Z0-9._~!$&'()*+,;=@-]{0,40}",
    ]
}

#[test]
fn the_extension_names_the_scope_if_the_path_does_not() {
    for name in Provider::names() {
        let policy = Provider::named(name).unwrap();
        let path = "/v1/chat/completions";
        assert_eq!(
            scope_of(&policy, path, Some("m")),
            Some("m".to_owned()),
            "{name}"
        );
        assert_eq!(scope_of(&policy, path, None), None, "{name}");
    }
}

#[test]
fn a_wrapped_policy_has_the_scope_of_the_inner_one() {
    let path = "/model/m/invoke";
    let boxed: Box<dyn ProviderPolicy> = Box::new(Provider::bedrock());
    let shared = Arc::new(Provider::bedrock());
    let mapped = Provider::bedrock().map_verdict(|_, _, verdict| verdict);
    for policy in [&boxed as &dyn ProviderPolicy, &shared, &mapped] {
        assert_eq!(scope_of(policy, path, None), Some("m".to_owned()));
    }
}

#[test]
fn a_429_is_limited_to_the_scope_even_if_its_body_is_incomplete() {
    let policy = Provider::openai();
    for evidence in [BodyEvidence::partial(b"{"), BodyEvidence::unreadable()] {
        let verdict = judge_evidence(&policy, &head(429, &[]), &evidence);
        assert_eq!(verdict, Verdict::Failover(Mark::temporary(None).in_scope()));
    }
    let verdict = judge(&Provider::bearer(), &head(429, &[]), b"");
    assert_eq!(verdict, Verdict::Failover(Mark::temporary(None).in_scope()));
}

#[test]
fn an_access_refusal_on_incomplete_evidence_marks_nothing() {
    let policy = Provider::openai();
    let refusal = br#"{"error":{"code":"model_not_found"}}"#;
    let verdict = judge_evidence(&policy, &head(403, &[]), &BodyEvidence::complete(refusal));
    assert_eq!(verdict, Verdict::Failover(Mark::keep().in_scope()));
    let verdict = judge_evidence(&policy, &head(403, &[]), &BodyEvidence::partial(refusal));
    assert_eq!(verdict, Verdict::Failover(Mark::keep()));
}

#[test]
fn the_weekly_limit_of_one_class_of_models_is_limited_to_the_scope() {
    let claim = "anthropic-ratelimit-unified-representative-claim";
    for (value, expected) in [
        ("five_hour", false),
        ("seven_day", false),
        ("seven_day_opus", true),
        ("", false),
    ] {
        let body = json!({ "error": {
            "type": "rate_limit_error",
            "message": "This request would exceed your account's rate limit. Please try again later.",
        } });
        let verdict = judge_json(&Provider::anthropic(), 429, &[(claim, value)], body);
        let Verdict::Failover(mark) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(mark.kind(), MarkKind::Temporary(None));
        assert_eq!(mark.is_in_scope(), expected, "{value}");
    }
}

#[test]
fn a_missing_permission_to_stream_is_not_an_access_refusal_of_the_model() {
    let refused = |message: &str| {
        judge_json(
            &Provider::bedrock(),
            403,
            &[],
            json!({ "message": message }),
        )
    };
    let to_stream = "User: arn:aws:iam::1:user/x is not authorized to perform: \
         bedrock:InvokeModelWithResponseStream on resource: arn:aws:bedrock:us-east-1::foundation-model/x";
    let model = "You don't have access to the model with the specified model ID.";
    assert_eq!(refused(to_stream), Verdict::Failover(Mark::keep()));
    assert_eq!(refused(model), Verdict::Failover(Mark::keep().in_scope()));
}
