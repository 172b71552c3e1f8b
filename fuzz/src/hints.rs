//! Responses with any head, body and trailers: which wait a policy reads from them.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use tower_key_failover::KeyState;
use tower_key_failover::policy::{BodyEvidence, Mark, ProviderPolicy, Verdict};

use crate::judge::{DEFAULT_COOLDOWN, Does, MAX_COOLDOWN, is, judge, state_after};
use crate::response::WireResponse;

pub fn run(input: &[u8]) {
    let Some(mut response) = WireResponse::parse(input) else {
        return;
    };
    let verdict = response.judge();
    if Does::of(verdict) == Does::Temporary {
        assert!(
            !is(verdict, Mark::temporary(Some(Duration::ZERO))),
            "a wait of zero is no hint"
        );
        if let Some(wait) = response.wait_in_headers() {
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
        // The second key is suspected as well, so no success convicts the first.
        (Does::Forward | Does::Keep | Does::Suspect, KeyState::Valid) => {}
        (does, state) => panic!("{does:?} leaves the key {state:?}"),
    }

    // A wait decides how long the key cools down, never whether it does.
    for headers in response.each_headers() {
        for name in ["retry-after-ms", "retry-after", "x-amz-retry-after"] {
            headers.remove(name);
        }
    }
    let without = response.judge();
    assert_eq!(Does::of(without), Does::of(verdict));
    for headers in response.each_headers() {
        headers.insert("retry-after-ms", HeaderValue::from_static(" 1234.5 "));
    }
    let with = response.judge();
    assert_eq!(Does::of(with), Does::of(verdict));
    if Does::of(with) == Does::Temporary {
        let wait = Duration::from_secs_f64(1.2345);
        assert!(is(with, Mark::temporary(Some(wait))), "{with:?}");
    }
}

impl WireResponse<'_> {
    fn judge(&self) -> Verdict {
        let mut evidence = BodyEvidence::complete(self.body);
        if let Some(trailers) = &self.trailers {
            evidence = evidence.with_trailers(trailers);
        }
        judge(&self.policy, &self.head, &evidence)
    }

    fn each_headers(&mut self) -> impl Iterator<Item = &mut HeaderMap> {
        std::iter::once(&mut self.head.headers).chain(&mut self.trailers)
    }

    /// The wait in the first two headers, if it does not depend on the local clock.
    fn wait_in_headers(&self) -> Option<Duration> {
        // gRPC sends them next to the status.
        let in_trailers = self.trailers.as_ref().filter(|_| {
            self.provider == "grpc" && matches!(self.policy.classify(&self.head), Verdict::Read(_))
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

/// By the response's own date.
fn until(head: &http::response::Parts, text: &str) -> Option<Duration> {
    let date = |text| httpdate::parse_http_date(text).ok();
    let now: SystemTime = date(self::text(&head.headers, "date")?)?;
    let wait = date(text)?.duration_since(now).ok()?;
    (!wait.is_zero()).then_some(wait)
}
