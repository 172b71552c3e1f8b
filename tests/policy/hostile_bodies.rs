//! Bodies that say nothing, or are made to do harm: the status decides.

use proptest::prelude::*;
use test_support::verdict::{Does, head, judge, judge_evidence};
use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy, ReadLimit, Verdict};

/// The verdict of each status, without anything that explains it.
fn by_status(policy: &dyn ProviderPolicy, body: &BodyEvidence<'_>) -> Vec<(u16, Does)> {
    let is_quota = !Does::Forward.is(judge(policy, &head(402, &[]), b""));
    let is_in_doubt = |status| {
        let is_read = policy.classify(&head(status, &[])) == INSPECT;
        is_read && !matches!(body, BodyEvidence::Complete { .. })
    };
    vec![
        (400, Does::Forward),
        (401, Does::Permanent),
        (
            402,
            match is_quota {
                true if is_in_doubt(402) => Does::Keep,
                true => Does::millis(3_600_000),
                false => Does::Forward,
            },
        ),
        (
            403,
            if is_in_doubt(403) {
                Does::Keep
            } else {
                Does::Suspect
            },
        ),
        (404, Does::Forward),
        (429, Does::millis(5000)),
        (500, Does::Forward),
    ]
}

const INSPECT: Verdict = Verdict::Read(ReadLimit::refusal());

fn assert_status_decides(body: &BodyEvidence<'_>) {
    for provider in Provider::names() {
        let policy = Provider::named(provider).unwrap();
        for (status, expected) in by_status(&policy, body) {
            let wait = [("retry-after", "5")];
            let headers = if status == 429 { &wait[..] } else { &[] };
            let verdict = judge_evidence(&policy, &head(status, headers), body);
            assert!(expected.is(verdict), "{provider} {status}: {verdict:?}");
        }
    }
}

#[test]
fn a_body_without_evidence_leaves_the_verdict_to_the_status() {
    for body in [
        &b""[..],
        b" ",
        b"null",
        b"[]",
        b"[[[]]]",
        b"{}",
        b"0",
        b"\"error\"",
        b"{\"error\":null}",
        b"{\"error\":[]}",
        b"{\"error\":{\"code\":{},\"type\":[],\"message\":0,\"details\":{},\"status\":1}}",
        b"{\"error\":{\"details\":[null,1,\"x\",[],{\"violations\":[null,{}]}]}}",
        b"unauthorized",
        b"{\"error\":{\"type\":\"insufficient_quota\"",
        b"{\"error\":{\"type\":\"\xff\xfe\",\"message\":\"\xc3\x28\"}}",
        b"\xff\xfe\x00\x01",
        b"data: {\"error\":{\"type\":\"insufficient_quota\"}}\n\n",
    ] {
        assert_status_decides(&BodyEvidence::complete(body));
        assert_status_decides(&BodyEvidence::partial(body));
    }
}

#[test]
fn a_body_with_ten_thousand_levels_leaves_the_verdict_to_the_status() {
    for (open, close) in [("[", "]"), ("{\"error\":", "}"), ("{\"a\":[", "]}")] {
        let deep = [open.repeat(10_000), "1".to_owned(), close.repeat(10_000)].concat();
        assert_status_decides(&BodyEvidence::complete(deep.as_bytes()));
        assert_status_decides(&BodyEvidence::complete(open.repeat(10_000).as_bytes()));
    }
}

#[test]
fn a_truncated_body_leaves_the_verdict_to_the_status() {
    let mut body = br#"{"error":{"type":"insufficient_quota","message":""#.to_vec();
    body.resize(64 * 1024, b'x');
    assert_status_decides(&BodyEvidence::partial(&body));
}

#[test]
fn a_403_whose_body_cannot_be_decoded_keeps_the_key() {
    assert_status_decides(&BodyEvidence::unreadable());
    let policy = Provider::openai();
    let verdict = policy.classify_body(&head(403, &[]), &BodyEvidence::unreadable());
    assert!(Does::Keep.is(verdict), "{verdict:?}");
}

#[test]
fn an_incomplete_body_marks_no_key_permanently_and_a_403_keeps_the_key() {
    let dead = br#"{"error":{"code":"account_deactivated","type":"permission_error",
        "message":"OAuth token has been revoked. reported as leaked. authentication failed",
        "details":[{"reason":"API_KEY_INVALID"}]}}"#;
    for provider in Provider::names() {
        let policy = Provider::named(provider).unwrap();
        for status in [400, 402, 403, 429] {
            if policy.classify(&head(status, &[])) != INSPECT {
                continue;
            }
            for body in [BodyEvidence::partial(dead), BodyEvidence::unreadable()] {
                let verdict = policy.classify_body(&head(status, &[]), &body);
                assert!(!Does::Permanent.is(verdict), "{provider} {status}");
                assert!(
                    status != 403 || Does::Keep.is(verdict) || Does::Forward.is(verdict),
                    "{provider} {status}: {verdict:?}"
                );
            }
        }
    }
}

#[test]
fn a_403_and_a_429_that_an_edge_sent_are_forwarded() {
    let problem = "application/problem+json; charset=utf-8";
    for (kind, body) in [
        ("text/plain", "error code: 1010"),
        ("text/plain; charset=UTF-8", " Error Code: 1015\n"),
        ("", "error code: 1020"),
        ("", "<!DOCTYPE html><title>Attention Required!</title>"),
        (
            "application/json",
            r#"{"cloudflare_error":true,"error_code":1010}"#,
        ),
        (
            problem,
            r#"{"title":"Error 1010","error_code":1010,"ray_id":"9d99a4434fz2d168"}"#,
        ),
        (
            problem,
            r#"[{"type":"https://developers.cloudflare.com/support/1010/"}]"#,
        ),
        (
            "Application/Problem+JSON",
            r#"{"error_code":1015,"error_code":1015}"#,
        ),
        (
            "text/markdown",
            "---\nerror_code: 1015\ncloudflare_error: true\n---\n# Error",
        ),
    ] {
        for provider in Provider::names() {
            let policy = Provider::named(provider).unwrap();
            for status in [403, 429] {
                let head = head(status, &[("content-type", kind)]);
                if policy.classify(&head) != INSPECT {
                    continue;
                }
                let verdict = judge(&policy, &head, body.as_bytes());
                assert!(
                    Does::Forward.is(verdict),
                    "{provider} {status} {body}: {verdict:?}"
                );
            }
        }
    }
}

#[test]
fn text_that_only_resembles_an_edges_is_no_evidence_of_one() {
    let problem = "application/problem+json";
    for (kind, body) in [
        ("text/plain", "error code: none"),
        ("text/plain", "error code:"),
        ("text/plain", "the error code: 1010"),
        (problem, "{}"),
        (
            problem,
            r#"{"type":"about:blank","title":"Forbidden","error_code":"forbidden"}"#,
        ),
        ("application/json", r#"{"error_code":1010,"ray_id":"x"}"#),
        ("application/json", r#"{"cloudflare_error":"no"}"#),
        (
            "text/markdown",
            "---\ntitle: x\n---\ncloudflare_error: true",
        ),
        ("text/markdown", "# cloudflare_error: true"),
    ] {
        let head = head(403, &[("content-type", kind)]);
        let verdict = judge(&Provider::openai(), &head, body.as_bytes());
        assert!(Does::Suspect.is(verdict), "{body}: {verdict:?}");
    }
}

#[test]
fn html_means_an_edge_with_403_and_429_and_is_no_evidence_with_401() {
    let page = b"\n<!DOCTYPE HTML><title>403 Forbidden</title>";
    for provider in Provider::names() {
        let policy = Provider::named(provider).unwrap();
        let is_read = |status| policy.classify(&head(status, &[])) == INSPECT;
        for kind in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "application/xhtml+xml",
        ] {
            let html = |status| head(status, &[("content-type", kind)]);
            assert_eq!(policy.classify(&html(403)), Verdict::Forward, "{provider}");
            assert!(
                Does::Permanent.is(judge(&policy, &html(401), page)),
                "{provider}"
            );
            let expected = match is_read(429) {
                true => Does::Forward,
                false => Does::Temporary(None),
            };
            assert!(expected.is(policy.classify(&html(429))), "{provider}");
        }
        // A page without its type.
        for status in [403, 429].into_iter().filter(|status| is_read(*status)) {
            let verdict = judge(&policy, &head(status, &[]), page);
            assert!(Does::Forward.is(verdict), "{provider}");
        }
    }
}

#[test]
fn echoed_words_of_the_caller_are_no_evidence() {
    let echoed = br#"{"error":{"type":"invalid_request_error",
        "message":"messages.0: \"Your credit balance is too low\" is not allowed"}}"#;
    let verdict = judge(&Provider::anthropic(), &head(400, &[]), echoed);
    assert!(Does::Forward.is(verdict), "{verdict:?}");
}

/// JSON in the shapes that the policies look into, with anything at their leaves.
fn shaped() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        ".{0,20}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let names = prop::sample::select(vec![
        "error",
        "code",
        "type",
        "message",
        "status",
        "details",
        "reason",
        "metadata",
        "violations",
        "quotaId",
        "error_code",
        "limit_source",
        "resets_at",
        "retryDelay",
    ]);
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let fields = prop::collection::vec((names.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            fields.prop_map(|fields| {
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_makes_a_policy_panic(
        shaped in shaped(),
        bytes in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        for provider in Provider::names() {
            let policy = Provider::named(provider).unwrap();
            for status in [400, 401, 402, 403, 429] {
                judge(&policy, &head(status, &[]), shaped.as_bytes());
                judge(&policy, &head(status, &[]), &bytes);
            }
        }
    }

    #[test]
    fn no_incomplete_body_makes_a_policy_mark_a_key_permanently(shaped in shaped()) {
        for provider in Provider::names() {
            let policy = Provider::named(provider).unwrap();
            for status in [400, 402, 403, 429] {
                let head = head(status, &[]);
                if policy.classify(&head) == INSPECT {
                    let body = BodyEvidence::partial(shaped.as_bytes());
                    let verdict = policy.classify_body(&head, &body);
                    prop_assert!(!Does::Permanent.is(verdict), "{} {}", provider, status);
                }
            }
        }
    }
}
