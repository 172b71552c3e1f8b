//! Any refusal of any provider, plain or in an encoding: what its policy reads in the body, by
//! itself and through the layer.

use bytes::Bytes;
use flate2::Crc;
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, Request, Response, StatusCode};
use tower_key_failover::policy::{BodyEvidence, ProviderPolicy};
use tower_key_failover::{FailoverInfo, KeyState};

use crate::answer::{Answer, is_but_for_stars};
use crate::asking::{Does, FIRST_KEY, Outcome, Whole, judge, on_a_paused_clock, send};

/// How much of a body the layer reads.
const SHOWN: usize = 64 * 1024;

pub fn run(input: &[u8]) {
    let Some(answer) = Answer::parse(input) else {
        return;
    };
    // What becomes of an echoed key is another target's matter.
    if contains(input, FIRST_KEY.as_bytes()) {
        return;
    }
    // Shown to the policy in every way there is.
    let evidence = BodyEvidence::new(answer.body);
    let mut shown = vec![
        evidence,
        evidence.truncated(),
        BodyEvidence::undecodable(),
        BodyEvidence::undecodable().truncated(),
    ];
    if let Some(trailers) = &answer.trailers {
        shown.push(evidence.with_trailers(trailers));
    }
    for evidence in &shown {
        judge(&answer.policy, &answer.head, evidence);
    }

    let through_the_layer = answer.send();
    if answer.head.headers.contains_key(CONTENT_ENCODING) || answer.body.len() >= SHOWN {
        return;
    }
    let expected = answer.expected();
    assert_eq!(through_the_layer, expected);
    if answer.provider == "grpc" {
        return;
    }
    let deflate = stored(answer.body);
    assert_eq!(answer.encoded("deflate", &deflate).send(), expected);
    let gzip = gzip(answer.body, deflate);
    assert_eq!(answer.encoded("gzip", &gzip).send(), expected);
}

/// Deflate without compressing, which would take longer than all the rest.
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

impl<'a> Answer<'a> {
    /// What the policy says of all there is to see.
    fn expected(&self) -> Does {
        let mut evidence = BodyEvidence::new(self.body);
        let (request, ()) = Request::new(()).into_parts();
        if self.policy.is_byok(&request) {
            return Does::Forward;
        }
        // A message is no place for a status.
        let is_seen = self.provider != "grpc" || self.body.is_empty();
        if let Some(trailers) = self.trailers.as_ref().filter(|_| is_seen) {
            evidence = evidence.with_trailers(trailers);
        }
        Does::of(judge(&self.policy, &self.head, &evidence))
    }

    fn encoded<'b>(&self, coding: &'static str, body: &'b [u8]) -> Answer<'b> {
        let mut head = self.head.clone();
        let coding = HeaderValue::from_static(coding);
        head.headers.insert(CONTENT_ENCODING, coding);
        Answer {
            provider: self.provider,
            policy: self.policy.clone(),
            head,
            body,
            trailers: self.trailers.clone(),
        }
    }

    /// Sends it through the layer, and says what it did.
    fn send(&self) -> Does {
        let body = Whole {
            data: (!self.body.is_empty()).then(|| Bytes::copy_from_slice(self.body)),
            trailers: self.trailers.clone(),
        };
        let sent = Response::from_parts(self.head.clone(), body);
        let Outcome {
            answer,
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
        let is_encoded = self.head.headers.contains_key("content-encoding");
        let info = answer.extensions().get::<FailoverInfo>();
        let is_own =
            info.is_some_and(|info| info.outcome() == tower_key_failover::Outcome::Exhausted);
        if does == Does::Forward && is_encoded && is_own {
            // A key that it echoes cannot be overwritten there, so that it gives way.
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        } else if does == Does::Forward {
            assert_eq!(answer.status(), self.head.status);
            assert_eq!(answer.headers(), &self.head.headers);
            assert!(is_but_for_stars(answer.body(), self.body));
        } else {
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.body().is_empty());
        }
        does
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
