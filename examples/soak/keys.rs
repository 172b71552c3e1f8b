//! The keys of one upstream, what it said of each, and so which state of a key is explained.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::random::Random;

/// What an answer may take to be judged: it may be read for a second, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Keys {
    pub all: Vec<SoakKey>,
}

#[derive(Debug)]
pub struct SoakKey {
    pub secret: String,
    /// Those that have none are only ever limited for a moment.
    end: Option<(Instant, End)>,
    said: Mutex<Said>,
}

/// How a key goes out of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Revoked,
    Forbidden,
    /// Limited, without a word for how long: the default of 60 s.
    Limited,
    /// Its quota is used up: the default of 1 h.
    Quota,
}

#[derive(Clone, Copy, Debug, Default)]
struct Said {
    permanent: bool,
    until: Option<Instant>,
}

impl Keys {
    /// Keys that go out of use one after the other during the run, and a few that last.
    pub fn new(lane: &str, seed: u64, run: Duration) -> Self {
        const MORTAL: u32 = 16;
        const STURDY: u32 = 8;
        const ENDS: [End; 4] = [End::Revoked, End::Limited, End::Forbidden, End::Quota];

        let start = Instant::now();
        let key = |position: u32| {
            let mut random = Random::of([seed, lane.len() as u64, u64::from(position)]);
            let end = (position < MORTAL).then(|| {
                let at = start + run * (position + 1) / (MORTAL + 1);
                (at, ENDS[position as usize % ENDS.len()])
            });
            SoakKey {
                secret: format!("soak-{lane}-{:016x}-{position:04}", random.next()),
                end,
                said: Mutex::default(),
            }
        };
        Self {
            all: (0..MORTAL + STURDY).map(key).collect(),
        }
    }

    /// The lines of a file of keys.
    pub fn file(&self) -> String {
        let lines = self.all.iter().map(|key| format!("{}\n", key.secret));
        lines.collect()
    }

    pub fn find(&self, secret: &str) -> Option<&SoakKey> {
        self.all.iter().find(|key| key.secret == secret)
    }

    /// What is wrong with the states that the gateway tells. At the end every mortal key is out.
    pub fn unexplained(&self, told: &Value, at_the_end: bool) -> Vec<String> {
        let told = told.as_array().map_or(&[][..], Vec::as_slice);
        let mut wrong = Vec::new();
        for key in &self.all {
            let mut told = told.iter().filter(|told| key.is_shown_by(told));
            let (Some(told), None) = (told.next(), told.next()) else {
                wrong.push(format!("not shown, or twice: {key:?}"));
                continue;
            };
            let is_explained = match at_the_end {
                true => key.ended_as(told),
                false => key.may_be(told),
            };
            if !is_explained {
                wrong.push(format!("unexplained: {told} of {key:?}"));
            }
        }
        if told.len() > self.all.len() {
            wrong.push(format!("{} keys are shown", told.len()));
        }
        wrong
    }
}

impl SoakKey {
    /// How it is out of use, if it is.
    pub fn ended(&self) -> Option<End> {
        let (at, how) = self.end?;
        (Instant::now() >= at).then_some(how)
    }

    /// By its hint: what ends a key is its position.
    fn is_shown_by(&self, told: &Value) -> bool {
        let hint = told["hint"].as_str().unwrap_or_default();
        self.secret.ends_with(hint.trim_start_matches("soak..."))
    }

    /// Noted before it is said.
    pub fn says_permanent(&self) {
        self.said().permanent = true;
    }

    pub fn says_limited(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut said = self.said();
        said.until = said.until.max(Some(until));
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something that was said explains the state. An answer may have been lost, so valid
    /// it may always be.
    fn may_be(&self, told: &Value) -> bool {
        let said = *self.said();
        match told["state"].as_str() {
            Some("valid") => true,
            Some("permanent") => said.permanent,
            Some("temporary") => {
                let wait = Duration::from_millis(told["retry_after_ms"].as_u64().unwrap_or(0));
                said.until
                    .is_some_and(|until| Instant::now() + wait <= until + SLACK)
            }
            _ => false,
        }
    }

    /// The same once all was said again, with nothing lost.
    fn ended_as(&self, told: &Value) -> bool {
        let expected = match self.end {
            Some((_, End::Revoked | End::Forbidden)) => "permanent",
            Some((_, End::Limited | End::Quota)) => "temporary",
            None => "valid",
        };
        told["state"] == expected && self.may_be(told)
    }
}
