//! Any head, body and trailers: what a policy makes of the waits in them.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, response};
use tower_key_failover::KeyState;
use tower_key_failover::policy::{BodyEvidence, Mark, ProviderPolicy, Verdict};

use crate::answer::Answer;
use crate::asking::{DEFAULT_COOLDOWN, Does, MAX_COOLDOWN, is, judge, state_after};

pub fn run(input: &[u8]) {
    let Some(mut answer) = Answer::parse(input) else {
        return;
    };
    let verdict = answer.judge();
    if Does::of(verdict) == Does::Temporary {
        assert!(
            !is(verdict, Mark::temporary(Some(Duration::ZERO))),
            "no wait at all is no hint"
        );
        if let Some(wait) = answer.told_in_headers() {
            assert!(
                is(verdict, Mark::temporary(Some(wait))),
                "{verdict:?}, and not the first usable hint: {wait:?}"
            );
        }
    }
    match (Does::of(verdict), state_after(verdict)) {
        (Does::Temporary, KeyState::Temporary { retry_after }) => {
            let shortest = Duration::from_millis(1);
            assert!(retry_after >= shortest && retry_after <= MAX_COOLDOWN);
            if is(verdict, Mark::temporary(None)) {
                assert_eq!(retry_after, DEFAULT_COOLDOWN);
            }
        }
        (Does::Permanent, KeyState::Permanent) => {}
        (Does::Forward | Does::Keep, KeyState::Valid) => {}
        (does, state) => panic!("{does:?} leaves the key {state:?}"),
    }

    // A wait says how long, and never whether.
    for headers in answer.each_headers() {
        for name in ["retry-after-ms", "retry-after", "x-amz-retry-after"] {
            headers.remove(name);
        }
    }
    let without = answer.judge();
    assert_eq!(Does::of(without), Does::of(verdict));
    for headers in answer.each_headers() {
        headers.insert("retry-after-ms", HeaderValue::from_static(" 1234.5 "));
    }
    let with = answer.judge();
    assert_eq!(Does::of(with), Does::of(verdict));
    if Does::of(with) == Does::Temporary {
        let wait = Duration::from_secs_f64(1.2345);
        assert!(is(with, Mark::temporary(Some(wait))), "{with:?}");
    }
}

impl Answer<'_> {
    fn judge(&self) -> Verdict {
        let mut evidence = BodyEvidence::new(self.body);
        if let Some(trailers) = &self.trailers {
            evidence = evidence.with_trailers(trailers);
        }
        judge(&self.policy, &self.head, &evidence)
    }

    fn each_headers(&mut self) -> impl Iterator<Item = &mut HeaderMap> {
        std::iter::once(&mut self.head.headers).chain(&mut self.trailers)
    }

    /// What the two first headers say, where that does not depend on the clock here.
    fn told_in_headers(&self) -> Option<Duration> {
        // In gRPC they stand beside the status.
        let in_trailers = self.trailers.as_ref().filter(|_| {
            self.provider == "grpc" && self.policy.classify(&self.head) == Verdict::Peek
        });
        let headers = in_trailers.unwrap_or(&self.head.headers);
        let millis = text(headers, "retry-after-ms").and_then(|text| text.parse::<f64>().ok());
        if let Some(wait) = millis.and_then(|millis| wait(millis / 1e3)) {
            return Some(wait);
        }
        let text = text(headers, "retry-after")?;
        match text.parse::<f64>() {
            Ok(seconds) => wait(seconds),
            Err(_) => until(&self.head, text),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

fn wait(seconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    (!wait.is_zero()).then_some(wait)
}

/// By the answer's own date.
fn until(head: &response::Parts, text: &str) -> Option<Duration> {
    let date = |text| httpdate::parse_http_date(text).ok();
    let now: SystemTime = date(self::text(&head.headers, "date")?)?;
    let wait = date(text)?.duration_since(now).ok()?;
    (!wait.is_zero()).then_some(wait)
}
