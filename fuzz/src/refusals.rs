//! Refusals of any provider, plain or encoded. The policy alone and the layer must agree on them.

use bytes::Bytes;
use flate2::Crc;
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, Request, Response, StatusCode};
use tower_key_failover::KeyState;
use tower_key_failover::policy::{BodyEvidence, ProviderPolicy};

use crate::judge::{Does, FIRST_KEY, Outcome, Whole, judge, on_a_paused_clock, send};
use crate::response::WireResponse;

/// The number of bytes of a body that the layer reads.
const MAX_INSPECTED: usize = 64 * 1024;

pub fn run(input: &[u8]) {
    let Some(response) = WireResponse::parse(input) else {
        return;
    };
    // The target `exchange` covers echoed keys.
    if contains(input, FIRST_KEY.as_bytes()) {
        return;
    }
    // The policy must not panic, whatever evidence it gets.
    let evidence = BodyEvidence::complete(response.body);
    let mut evidence_kinds = vec![
        evidence,
        BodyEvidence::partial(response.body),
        BodyEvidence::unreadable(),
    ];
    if let Some(trailers) = &response.trailers {
        evidence_kinds.push(evidence.with_trailers(trailers));
    }
    for evidence in &evidence_kinds {
        judge(&response.policy, &response.head, evidence);
    }

    let through_the_layer = response.send();
    if response.head.headers.contains_key(CONTENT_ENCODING) || response.body.len() >= MAX_INSPECTED
    {
        return;
    }
    let expected = response.expected();
    assert_eq!(through_the_layer, expected);
    if response.provider == "grpc" {
        return;
    }
    let deflate = stored(response.body);
    assert_eq!(response.encoded("deflate", &deflate).send(), expected);
    let gzip = gzip(response.body, deflate);
    assert_eq!(response.encoded("gzip", &gzip).send(), expected);
}

/// A deflate stream of one stored block. Compression would dominate the run time.
fn stored(body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap();
    let mut block = vec![1];
    block.extend(len.to_le_bytes());
    block.extend((!len).to_le_bytes());
    block.extend(body);
    block
}

fn gzip(body: &[u8], deflated: Vec<u8>) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(body);
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    gzip.extend(deflated);
    gzip.extend(crc.sum().to_le_bytes());
    gzip.extend(crc.amount().to_le_bytes());
    gzip
}

impl<'a> WireResponse<'a> {
    /// What the verdict of the policy does to the first key, with which only the second one succeeds.
    fn expected(&self) -> Does {
        let mut evidence = BodyEvidence::complete(self.body);
        let (request, ()) = Request::new(()).into_parts();
        if self.policy.is_byok(&request) {
            return Does::Forward;
        }
        // A gRPC call with a message is judged by its trailers later.
        let is_seen = self.provider != "grpc" || self.body.is_empty();
        if let Some(trailers) = self.trailers.as_ref().filter(|_| is_seen) {
            evidence = evidence.with_trailers(trailers);
        }
        match Does::of(judge(&self.policy, &self.head, &evidence)) {
            // The second key's response has no trailers, which gRPC needs for a success.
            Does::Suspect if self.provider == "grpc" => Does::Keep,
            Does::Suspect => Does::Permanent,
            does => does,
        }
    }

    fn encoded<'b>(&self, coding: &'static str, body: &'b [u8]) -> WireResponse<'b> {
        let mut head = self.head.clone();
        let coding = HeaderValue::from_static(coding);
        head.headers.insert(CONTENT_ENCODING, coding);
        WireResponse {
            provider: self.provider,
            policy: self.policy.clone(),
            head,
            body,
            trailers: self.trailers.clone(),
        }
    }

    /// Sends the response through the layer and returns what the layer did.
    fn send(&self) -> Does {
        let body = Whole {
            data: (!self.body.is_empty()).then(|| Bytes::copy_from_slice(self.body)),
            trailers: self.trailers.clone(),
        };
        let sent = Response::from_parts(self.head.clone(), body);
        let Outcome {
            response,
            attempts,
            state,
        } = on_a_paused_clock(send(self.policy.clone(), sent));
        let does = match (attempts, state) {
            (1, KeyState::Valid) => Does::Forward,
            (2, KeyState::Valid) => Does::Keep,
            (2, KeyState::Temporary { .. }) => Does::Temporary,
            (2, KeyState::Permanent) => Does::Permanent,
            other => panic!("{other:?}"),
        };
        if does == Does::Forward {
            assert_eq!(response.status(), self.head.status);
            // What contains a key is removed, and nothing is changed.
            for (name, value) in response.headers() {
                assert!(
                    self.head
                        .headers
                        .get_all(name)
                        .iter()
                        .any(|sent| sent == value)
                );
            }
            assert!(response.body().is_empty() || response.body() == self.body);
        } else {
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.body().is_empty());
        }
        does
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
