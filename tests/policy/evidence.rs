//! What refusals say beyond their status: cases that the vectors do not hold.

use serde_json::{Value, json};
use test_support::verdict::{Does, head, judge_json};
use tower_key_failover::policy::{Provider, ProviderPolicy, ReadLimit, Verdict};

const QUOTA: Does = Does::Temporary(Some(std::time::Duration::from_secs(3600)));
const LIMIT: Does = Does::Temporary(None);

#[track_caller]
fn assert_means(provider: &str, cases: &[(u16, Value, Does)]) {
    let policy = Provider::named(provider).unwrap();
    for (status, body, expected) in cases {
        let verdict = judge_json(&policy, *status, &[], body.clone());
        assert!(
            expected.is(verdict),
            "{status} {body}: {verdict:?}, not {expected:?}"
        );
    }
}

fn message(text: &str) -> Value {
    json!({ "error": { "message": text } })
}

fn code(code: &str) -> Value {
    json!({ "error": { "message": "", "code": code } })
}

fn kind(kind: &str) -> Value {
    json!({ "error": { "message": "", "type": kind } })
}

#[test]
fn a_body_is_read_only_if_it_can_decide() {
    for (provider, statuses) in [
        ("openai", &[401, 403, 429][..]),
        ("azure_openai", &[401, 403, 429]),
        ("groq", &[400, 401, 403, 429]),
        ("anthropic", &[400, 403, 429]),
        ("gemini", &[400, 401, 403, 429]),
        ("vertex", &[400, 401, 403, 429]),
        ("bedrock", &[400, 403, 429]),
        ("mistral", &[403, 429]),
        ("deepseek", &[401, 403, 429]),
        ("openrouter", &[402, 403, 429]),
        ("cohere", &[403, 429]),
        ("xai", &[400, 403, 429]),
        ("together", &[401, 403, 429]),
        ("perplexity", &[401, 403, 429]),
        ("bearer", &[403]),
    ] {
        let policy = Provider::named(provider).unwrap();
        let asked: Vec<_> = (200..600)
            .filter(|&status| {
                policy.classify(&head(status, &[])) == Verdict::Read(ReadLimit::refusal())
            })
            .collect();
        assert_eq!(asked, statuses, "{provider}");
    }
}

#[test]
fn openai_errors_are_read_by_their_code_and_message() {
    assert_means(
        "openai",
        &[
            (401, code("invalid_api_key"), Does::Permanent),
            (
                401,
                message("Your IP address is not in the allowlist of this project."),
                Does::Keep,
            ),
            (401, message("IP not authorized"), Does::Keep),
            (403, code("model_not_found"), Does::Keep),
            (
                403,
                message("You have insufficient permissions for this operation."),
                Does::Keep,
            ),
            (403, message("Forbidden"), Does::Suspect),
            (429, code("organization_spend_limit_exceeded"), QUOTA),
            (429, code("organization_usage_limit_exceeded"), QUOTA),
            (429, kind("server_error"), Does::Forward),
            (429, code("billing_not_active"), QUOTA),
            (429, code("engine_overloaded"), Does::Forward),
            // The words of an exhausted quota, on what is none.
            (
                429,
                message("You exceeded your current quota, please check your plan"),
                LIMIT,
            ),
            (400, kind("insufficient_quota"), Does::Forward),
        ],
    );
}

#[test]
fn anthropic_errors_are_read_by_their_type_and_message() {
    let error = |kind: &str, text: &str| json!({ "error": { "type": kind, "message": text } });
    let coded = |code: &str| json!({ "error": { "details": { "error_code": code } } });
    assert_means(
        "anthropic",
        &[
            (
                400,
                error(
                    "invalid_request_error",
                    "Your credit balance is too low to access",
                ),
                QUOTA,
            ),
            (
                400,
                error(
                    "invalid_request_error",
                    "This organization has been disabled.",
                ),
                Does::Permanent,
            ),
            (
                400,
                error("invalid_request_error", "max_tokens: required"),
                Does::Forward,
            ),
            (
                401,
                error(
                    "authentication_error",
                    "OAuth authentication is not allowed",
                ),
                Does::Permanent,
            ),
            (
                403,
                error(
                    "permission_error",
                    "OAuth authentication is currently not allowed for this organization.",
                ),
                Does::Permanent,
            ),
            (
                403,
                error(
                    "permission_error",
                    "OAuth token does not meet scope requirement user:profile",
                ),
                Does::Keep,
            ),
            (
                403,
                error(
                    "permission_error",
                    "Your API key does not have permission to use it",
                ),
                Does::Keep,
            ),
            (
                403,
                error("forbidden", "Request not allowed"),
                Does::Forward,
            ),
            (429, coded("linked_organization_spend_limit_reached"), QUOTA),
            (429, coded("ramp_limit_exceeded"), LIMIT),
            (429, error("overloaded_error", "Overloaded"), Does::Forward),
        ],
    );
}

#[test]
fn azure_errors_are_read_by_their_code_and_message() {
    assert_means(
        "azure_openai",
        &[
            (401, code("401"), Does::Permanent),
            (403, code("AccessDenied"), Does::Keep),
            (
                403,
                message("Public access is disabled. Please configure private endpoint."),
                Does::Keep,
            ),
            (
                403,
                message("Out of call volume quota for the F0 tier. Please retry after 13 days."),
                Does::millis(13 * 86_400_000),
            ),
            (
                429,
                message("The system is currently experiencing high demand"),
                Does::Forward,
            ),
            (
                429,
                message("Rate limit is exceeded. Try again in 2 seconds."),
                Does::millis(2000),
            ),
            (429, code("insufficient_quota"), QUOTA),
        ],
    );
}

#[test]
fn google_errors_are_read_by_their_details() {
    let reason = |reason: &str| json!({ "error": { "status": "PERMISSION_DENIED", "details": [{ "reason": reason }] } });
    // Requests to Gemini use the project of the key. Those to Vertex AI name theirs.
    for (provider, expected) in [
        ("gemini", [Does::Permanent, Does::Permanent, QUOTA]),
        ("vertex", [Does::Suspect; 3]),
    ] {
        let reasons = ["SERVICE_DISABLED", "CONSUMER_INVALID", "BILLING_DISABLED"].map(reason);
        let cases = reasons.into_iter().zip(expected);
        let cases: Vec<_> = cases.map(|(body, does)| (403, body, does)).collect();
        assert_means(provider, &cases);
    }
    for provider in ["gemini", "vertex"] {
        assert_means(
            provider,
            &[
                (
                    400,
                    json!({ "error": { "status": "FAILED_PRECONDITION", "message": "User location is not supported" } }),
                    Does::Forward,
                ),
                (
                    400,
                    json!([{ "error": { "details": [{ "reason": "API_KEY_INVALID" }] } }]),
                    Does::Permanent,
                ),
                (403, reason("CONSUMER_SUSPENDED"), Does::Permanent),
                (403, reason("API_KEY_IP_ADDRESS_BLOCKED"), Does::Permanent),
                (403, reason("API_KEY_HTTP_REFERRER_BLOCKED"), Does::Keep),
                (403, reason("API_KEY_ANDROID_APP_BLOCKED"), Does::Keep),
                (403, reason("IAM_PERMISSION_DENIED"), Does::Keep),
                (
                    403,
                    json!({ "error": { "code": "permission_denied" } }),
                    Does::Keep,
                ),
                (
                    403,
                    json!({ "error": { "status": "PERMISSION_DENIED", "message": "Your API key was reported as leaked." } }),
                    Does::Permanent,
                ),
                (
                    429,
                    message("Quota exceeded for aiplatform.googleapis.com/generate_content"),
                    LIMIT,
                ),
            ],
        );
    }
}

#[test]
fn bedrock_errors_are_read_by_their_type_and_message() {
    let typed = |kind: &str, text: &str| json!({ "__type": kind, "message": text });
    assert_means(
        "bedrock",
        &[
            (
                400,
                typed("com.amazon.coral.service#ServiceQuotaExceededException", ""),
                QUOTA,
            ),
            (400, typed("ValidationException", ""), Does::Forward),
            (
                403,
                typed("UnrecognizedClientException:http://internal", ""),
                Does::Permanent,
            ),
            (
                403,
                typed(
                    "AccessDeniedException",
                    "You don't have access to the model",
                ),
                Does::Keep,
            ),
            (
                403,
                typed(
                    "AccessDeniedException",
                    "Authentication failed: Please make sure your API Key is valid.",
                ),
                Does::Permanent,
            ),
            (
                403,
                typed("InvalidSignatureException", "Signature expired"),
                Does::Forward,
            ),
            (
                429,
                typed("ThrottlingException", "Too many requests"),
                LIMIT,
            ),
            (429, typed("ModelNotReadyException", ""), Does::Forward),
        ],
    );
}

#[test]
fn openrouter_errors_are_read_by_their_metadata() {
    let metadata = |metadata: Value| json!({ "error": { "code": 402, "metadata": metadata } });
    assert_means(
        "openrouter",
        &[
            (402, json!({}), QUOTA),
            (
                402,
                metadata(json!({ "error_type": "weight_exceeds_budget" })),
                Does::Keep,
            ),
            (
                402,
                metadata(json!({ "limit_source": "openrouter_in_flight_budget" })),
                LIMIT,
            ),
            (
                403,
                metadata(json!({ "limit_source": "openrouter_workspace" })),
                QUOTA,
            ),
            (
                403,
                metadata(json!({ "flagged_input": "x" })),
                Does::Forward,
            ),
            (403, metadata(json!({})), Does::Suspect),
            (429, metadata(json!({ "provider_name": null })), LIMIT),
            (
                429,
                metadata(json!({ "provider_name": "Someone" })),
                Does::Forward,
            ),
        ],
    );
}

#[test]
fn errors_of_the_other_providers_are_read_by_their_fields() {
    assert_means(
        "mistral",
        &[
            (
                403,
                json!({ "message": "Inactive subscription or usage limit reached" }),
                QUOTA,
            ),
            (
                429,
                json!({ "type": "service_tier_capacity_exceeded" }),
                Does::Forward,
            ),
        ],
    );
    assert_means(
        "groq",
        &[
            (400, code("organization_restricted"), Does::Permanent),
            (400, code("model_not_found"), Does::Forward),
            (403, kind("permissions_error"), Does::Keep),
            (
                429,
                message("Please try again in 9m38.016s"),
                Does::millis(578_016),
            ),
            (498, code("capacity_exceeded"), Does::Forward),
        ],
    );
    assert_means(
        "cohere",
        &[
            (
                429,
                json!({ "message": "You are using a Trial key, which is limited to 40 API calls / minute." }),
                LIMIT,
            ),
            (402, json!({ "message": "billing" }), QUOTA),
        ],
    );
    assert_means(
        "xai",
        &[
            (
                400,
                json!({ "code": "Client specified an invalid argument", "error": "Bad temperature" }),
                Does::Forward,
            ),
            (
                403,
                json!({ "error": "Your API key has been blocked." }),
                Does::Permanent,
            ),
            (
                403,
                json!({ "error": "Your team has no access to the model grok-x." }),
                Does::Keep,
            ),
            (
                403,
                json!({ "error": "Your team has no access to the model blocked-credits." }),
                Does::Keep,
            ),
            (
                403,
                json!({ "error": "Content violates usage guidelines. Model: grok-x" }),
                Does::Forward,
            ),
            (
                429,
                json!({ "code": "Some resource has been exhausted", "error": "Too many requests" }),
                LIMIT,
            ),
        ],
    );
    assert_means(
        "perplexity",
        &[
            (401, kind("insufficient_quota"), QUOTA),
            (401, kind("invalid_api_key"), Does::Permanent),
        ],
    );
    assert_means("together", &[(403, json!({}), Does::Suspect)]);
}
