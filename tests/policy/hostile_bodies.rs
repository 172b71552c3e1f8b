//! Bodies that say nothing, or are made to do harm: the status decides.

use proptest::prelude::*;
use test_support::verdict::{Does, head, judge, judge_evidence};
use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy, Verdict};

/// What each status means by itself.
fn by_status(policy: &dyn ProviderPolicy) -> Vec<(u16, Does)> {
    let is_quota = !Does::Forward.is(judge(policy, &head(402, &[]), b""));
    vec![
        (400, Does::Forward),
        (401, Does::Permanent),
        (
            402,
            if is_quota {
                Does::millis(3_600_000)
            } else {
                Does::Forward
            },
        ),
        (403, Does::Permanent),
        (404, Does::Forward),
        (429, Does::millis(5000)),
        (500, Does::Forward),
    ]
}

fn assert_status_decides(body: &BodyEvidence<'_>) {
    for provider in Provider::names() {
        let policy = Provider::named(provider).unwrap();
        for (status, expected) in by_status(&policy) {
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
        assert_status_decides(&BodyEvidence::new(body));
        assert_status_decides(&BodyEvidence::new(body).truncated());
    }
}

#[test]
fn a_body_with_ten_thousand_levels_leaves_the_verdict_to_the_status() {
    for (open, close) in [("[", "]"), ("{\"error\":", "}"), ("{\"a\":[", "]}")] {
        let deep = [open.repeat(10_000), "1".to_owned(), close.repeat(10_000)].concat();
        assert_status_decides(&BodyEvidence::new(deep.as_bytes()));
        assert_status_decides(&BodyEvidence::new(open.repeat(10_000).as_bytes()));
    }
}

#[test]
fn a_truncated_body_leaves_the_verdict_to_the_status() {
    let mut body = br#"{"error":{"type":"insufficient_quota","message":""#.to_vec();
    body.resize(64 * 1024, b'x');
    assert_status_decides(&BodyEvidence::new(&body).truncated());
}

#[test]
fn a_403_whose_body_cannot_be_decoded_keeps_the_key() {
    let body = BodyEvidence::undecodable();
    for provider in Provider::names() {
        let policy = Provider::named(provider).unwrap();
        for (status, expected) in by_status(&policy) {
            let expected = match status {
                403 if policy.classify(&head(403, &[])) == Verdict::Inspect => Does::Keep,
                429 => Does::Temporary(None),
                _ => expected,
            };
            let verdict = judge_evidence(&policy, &head(status, &[]), &body);
            assert!(expected.is(verdict), "{provider} {status}: {verdict:?}");
        }
    }
}

#[test]
fn html_means_an_edge_with_403_and_is_no_evidence_with_401() {
    let page = b"\n<!DOCTYPE HTML><title>403 Forbidden</title>";
    for provider in Provider::names() {
        let policy = Provider::named(provider).unwrap();
        for kind in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "application/xhtml+xml",
        ] {
            let html = |status| head(status, &[("content-type", kind)]);
            assert_eq!(policy.classify(&html(403)), Verdict::Forward, "{provider}");
            assert!(
                Does::Permanent.is(policy.classify(&html(401))),
                "{provider}"
            );
            assert!(
                Does::Temporary(None).is(policy.classify(&html(429))),
                "{provider}"
            );
        }
        // A page that does not say what it is, where the body is read at all.
        if policy.classify(&head(403, &[])) == Verdict::Inspect {
            assert!(
                Does::Forward.is(judge(&policy, &head(403, &[]), page)),
                "{provider}"
            );
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
}
