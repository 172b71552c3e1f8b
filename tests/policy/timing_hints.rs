//! How long a refused key is out: which hint counts, and what it says.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use test_support::verdict::{Does, head, judge, judge_json};
use tower_key_failover::policy::{Provider, ProviderPolicy};

const DATE: (&str, &str) = ("date", "Fri, 20 Nov 2026 20:00:00 GMT");

fn millis(wait: u64) -> Does {
    Does::millis(wait)
}

const NO_HINT: Does = Does::Temporary(None);

/// Asserts what a 429 with these headers and this body does to the key.
#[track_caller]
fn assert_waits(provider: &str, headers: &[(&str, &str)], body: Value, expected: Does) {
    let policy = Provider::named(provider).unwrap();
    let all = [&[DATE], headers].concat();
    let verdict = judge_json(&policy, 429, &all, body.clone());
    assert!(
        expected.is(verdict),
        "{provider} {headers:?} {body}: {verdict:?}, not {expected:?}"
    );
}

#[track_caller]
fn assert_headers(headers: &[(&str, &str)], expected: Does) {
    assert_waits("bearer", headers, Value::Null, expected);
}

fn message(text: &str) -> Value {
    json!({ "error": { "message": text, "code": "rate_limit_exceeded" } })
}

#[test]
fn retry_after_is_read_like_the_conformance_cases() {
    let cases: Value = test_support::conformance::unit_cases();
    for case in cases["parse_retry_after"].as_array().unwrap() {
        let headers: Vec<_> = [("retry-after-ms", "ms"), ("retry-after", "sec")]
            .into_iter()
            .filter_map(|(name, field)| Some((name, case[field].as_str()?)))
            .collect();
        let expected = match case["expect_ms"].as_u64().unwrap() {
            0 => NO_HINT,
            wait => millis(wait),
        };
        assert_headers(&headers, expected);
    }
}

#[test]
fn retry_after_can_be_seconds_or_a_date() {
    for (value, expected) in [
        ("1", millis(1000)),
        ("0.5", millis(500)),
        ("1.25", millis(1250)),
        ("13262", millis(13_262_000)),
        ("Fri, 20 Nov 2026 20:00:30 GMT", millis(30_000)),
        ("Friday, 20-Nov-26 20:01:00 GMT", millis(60_000)),
        ("Fri Nov 20 20:00:05 2026", millis(5000)),
        ("Fri, 20 Nov 2026 19:59:59 GMT", NO_HINT),
        ("Fri, 20 Nov 2026 20:00:00 GMT", NO_HINT),
        ("", NO_HINT),
        ("soon", NO_HINT),
        ("-1", NO_HINT),
        ("-0", NO_HINT),
        ("NaN", NO_HINT),
        ("inf", NO_HINT),
        ("1e400", NO_HINT),
        ("99999999999999999999", NO_HINT),
        ("30, 60", NO_HINT),
        ("30s", NO_HINT),
    ] {
        assert_headers(&[("retry-after", value)], expected);
    }
}

#[test]
fn a_long_wait_is_reported_unchanged() {
    let century = 100 * 365 * 24 * 60 * 60;
    assert_headers(&[("retry-after", "3153600000")], millis(century * 1000));
}

#[test]
fn the_first_usable_hint_wins() {
    let order = [
        ("retry-after-ms", "1000", 1000),
        ("retry-after", "2", 2000),
        ("x-amz-retry-after", "3000", 3000),
    ];
    for first in 0..order.len() {
        let headers: Vec<_> = order[first..].iter().map(|&(n, v, _)| (n, v)).collect();
        assert_headers(&headers, millis(order[first].2));

        // What is unusable is passed over.
        let useless = ["0", "-1", "NaN", "x"].map(|value| (order[first].0, value));
        for useless in useless {
            let mut headers = headers.clone();
            headers[0] = useless;
            let next = order.get(first + 1).map_or(NO_HINT, |next| millis(next.2));
            assert_headers(&headers, next);
        }
    }

    let bucket = [
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "6s"),
    ];
    let retry_info = json!({ "error": {
        "message": "Please retry in 5s.",
        "details": [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "4s" }],
    } });
    let with_header = [&[("retry-after", "2")], &bucket[..]].concat();
    assert_waits("gemini", &with_header, retry_info.clone(), millis(2000));
    assert_waits("gemini", &bucket, retry_info, millis(4000));
    assert_waits(
        "openai",
        &bucket,
        message("Please try again in 5s."),
        millis(5000),
    );
    assert_waits(
        "openai",
        &bucket,
        message("Too many requests."),
        millis(6000),
    );
}

#[test]
fn only_the_reset_of_an_exhausted_bucket_counts() {
    for (headers, expected) in [
        (
            &[
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "1s"),
            ][..],
            NO_HINT,
        ),
        (&[("x-ratelimit-reset-requests", "1s")], NO_HINT),
        (&[("x-ratelimit-remaining-requests", "0")], NO_HINT),
        (
            &[
                ("x-ratelimit-remaining-tokens", "-1"),
                ("x-ratelimit-reset-tokens", "5"),
            ],
            NO_HINT,
        ),
        (
            &[
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "0"),
            ],
            NO_HINT,
        ),
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "1m30.5s"),
                ("x-ratelimit-remaining-tokens", "7"),
                ("x-ratelimit-reset-tokens", "1h0m0s"),
            ],
            millis(90_500),
        ),
        // Both are empty: the key serves again when both have recovered.
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "2s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "3s"),
            ],
            millis(3000),
        ),
    ] {
        assert_headers(headers, expected);
    }
}

#[test]
fn a_reset_is_read_in_every_format_of_the_providers() {
    for (value, expected) in [
        ("1795204830", millis(30_000)),
        ("1795204830.5", millis(30_500)),
        ("1795204830000", millis(30_000)),
        ("2026-11-20T20:00:30Z", millis(30_000)),
        ("2026-11-20T21:00:30+01:00", millis(30_000)),
        ("Fri, 20 Nov 2026 20:00:30 GMT", millis(30_000)),
        ("30s", millis(30_000)),
        // Seconds to some, to others no hint at all.
        ("30", NO_HINT),
        ("1795204799", NO_HINT),
        ("2020-01-01T00:00:00Z", NO_HINT),
        ("99999999999999999999999999", NO_HINT),
    ] {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", value)];
        assert_headers(&headers, expected);
    }
    let azure = [
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "17"),
    ];
    assert_waits("azure_openai", &azure, Value::Null, millis(17_000));
}

#[test]
fn the_status_of_a_subscription_replaces_the_remaining_count() {
    let headers = [
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-reset", "1795208400"),
        ("anthropic-ratelimit-unified-7d-status", "allowed"),
        ("anthropic-ratelimit-unified-7d-reset", "1795808400"),
    ];
    assert_waits("anthropic", &headers, Value::Null, millis(3_600_000));
}

#[test]
fn a_daily_gemini_quota_resets_at_midnight_in_los_angeles() {
    let body = json!([{ "error": { "code": 429, "details": [
        { "violations": [{ "quotaId": "GenerateRequestsPerMinute" }] },
        { "violations": [{ "quotaId": "GenerateRequestsPerDayPerProject" }] },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s" },
    ] } }]);
    assert_waits("gemini", &[], body.clone(), millis(12 * 3_600_000));

    let summer = head(429, &[("date", "Mon, 20 Jul 2026 20:00:00 GMT")]);
    let verdict = judge(&Provider::gemini(), &summer, body.to_string().as_bytes());
    assert!(millis(11 * 3_600_000).is(verdict), "{verdict:?}");
}

#[test]
fn the_reset_of_a_bucket_does_not_apply_to_a_quota() {
    let body = json!({ "error": { "type": "insufficient_quota" } });
    let bucket = [
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "6s"),
    ];
    assert_waits("openai", &bucket, body.clone(), millis(3_600_000));
    assert_waits("openai", &[("retry-after", "9")], body, millis(9000));
}

#[test]
fn openrouter_names_its_reset_in_the_body() {
    let body = |remaining: &str| {
        json!({ "error": { "code": 429, "message": "Rate limit exceeded", "metadata": {
            "headers": {
                "X-RateLimit-Remaining": remaining,
                "X-RateLimit-Reset": "1795204830000",
            },
            "provider_name": null,
        } } })
    };
    assert_waits("openrouter", &[], body("0"), millis(30_000));
    assert_waits("openrouter", &[], body("1"), NO_HINT);
}

#[test]
fn without_a_date_header_a_reset_is_compared_with_the_local_clock() {
    let soon = std::time::SystemTime::now() + Duration::from_secs(3600);
    let retry_after = httpdate::fmt_http_date(soon);
    let verdict = Provider::bearer().classify(&head(429, &[("retry-after", &retry_after)]));
    assert!(!NO_HINT.is(verdict), "{verdict:?}");
    let past = head(429, &[("retry-after", "Fri, 20 Nov 2020 20:00:00 GMT")]);
    assert!(NO_HINT.is(Provider::bearer().classify(&past)));
}

/// Something that may stand in a header, often close to what does.
fn header_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "-?[0-9]{1,40}(\\.[0-9]{0,20})?",
        "([0-9]{1,20}(ns|us|ms|s|m|h)){1,5}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
    ]
}

const NAMES: [&str; 10] = [
    "date",
    "retry-after-ms",
    "retry-after",
    "x-amz-retry-after",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-unified-status",
    "anthropic-ratelimit-unified-reset",
];

proptest! {
    #[test]
    fn any_hints_of_a_429_lead_to_a_cooldown_longer_than_zero(
        values in prop::collection::vec(header_value(), NAMES.len()),
        text in ".{0,40}(try again in|retry after|regain access on) .{0,40}",
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut headers: Vec<_> = NAMES
            .into_iter()
            .zip(values.iter().map(String::as_str))
            .collect();
        headers.push(("x-ratelimit-remaining-tokens", "0"));
        headers.push(("anthropic-ratelimit-requests-remaining", "0"));
        let head = head(429, &headers);
        let messages = [message(&text).to_string().into_bytes(), bytes];
        for provider in ["openai", "anthropic", "gemini", "bearer"] {
            let policy = Provider::named(provider).unwrap();
            for body in &messages {
                let verdict = judge(&policy, &head, body);
                prop_assert!(!Does::Forward.is(verdict) && !Does::Permanent.is(verdict));
                prop_assert!(!Does::millis(0).is(verdict));
            }
        }
    }
}
