//! The requests of many clients. A client sends a few requests, with pauses in between.

use crate::random::{LogNormal, Random};

#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests per second.
    pub rate: f64,
    /// Three times the rate for about 10 s, then a third of it for about 30 s.
    pub is_bursty: bool,
    /// How long the provider works on a request.
    pub service: LogNormal,
    /// Whether the head of a response comes before its end.
    pub is_streaming: bool,
}

/// One request. All times are in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub at: f64,
    pub session: u64,
    pub is_first_of_session: bool,
    pub head: f64,
    pub service: f64,
}

const HEAD: LogNormal = LogNormal {
    median: 0.8,
    sigma: 0.6,
    min: 0.2,
    max: 10.0,
};

impl Load {
    /// A chat with a language model, which streams its response.
    pub const CHAT: Self = Self {
        rate: 1.0,
        is_bursty: false,
        service: service(4.0, 1.0),
        is_streaming: true,
    };
    pub const FAST: Self = Self::plain(1.0, 0.5);
    pub const SLOW: Self = Self::plain(20.0, 0.8);
    pub const MINUTE: Self = Self::plain(60.0, 0.0);

    const fn plain(median: f64, sigma: f64) -> Self {
        Self {
            rate: 1.0,
            is_bursty: false,
            service: service(median, sigma),
            is_streaming: false,
        }
    }

    pub const fn rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    pub const fn bursty(self) -> Self {
        Self {
            is_bursty: true,
            ..self
        }
    }

    /// The requests within so many seconds, in order.
    pub fn arrivals(self, seconds: f64, seed: u64) -> Vec<Arrival> {
        /// Sessions begin so long before the start, so that their number is steady by then.
        const WARM_UP: f64 = 1500.0;

        let mut random = Random::of([seed, 1]);
        let gap = mean_session_length() / self.rate;
        let mut arrivals = Vec::new();
        let mut began = -WARM_UP;
        for session in 0.. {
            began += random.exponential(gap);
            if began >= seconds {
                break;
            }
            let mut at = began;
            for number in 0..session_length(&mut random) {
                if number > 0 {
                    at += 5.0 + random.exponential(25.0);
                }
                let service = random.log_normal(self.service);
                let head = match self.is_streaming {
                    true => random.log_normal(HEAD).min(service),
                    false => service,
                };
                let arrival = Arrival {
                    at,
                    session,
                    is_first_of_session: number == 0,
                    head,
                    service,
                };
                if (0.0..seconds).contains(&at) {
                    arrivals.push(arrival);
                }
            }
        }
        arrivals.sort_by(|one, other| one.at.total_cmp(&other.at));
        if self.is_bursty {
            make_bursty(&mut arrivals, &mut random);
        }
        arrivals
    }
}

const fn service(median: f64, sigma: f64) -> LogNormal {
    LogNormal {
        median,
        sigma,
        min: 0.3,
        max: 60.0,
    }
}

/// Moves the arrivals: time passes at the rate of the current phase.
fn make_bursty(arrivals: &mut [Arrival], random: &mut Random) {
    let mut is_burst = false;
    let mut rate = 1.0;
    // Where the current phase begins, before and after the move, and where it ends before the move.
    let (mut from, mut moved_from, mut to) = (0.0, 0.0, 0.0);
    for arrival in arrivals {
        while arrival.at > to {
            moved_from += (to - from) / rate;
            from = to;
            is_burst = !is_burst;
            let length = if is_burst { 10.0 } else { 30.0 };
            rate = if is_burst { 3.0 } else { 1.0 / 3.0 };
            to = from + rate * random.exponential(length);
        }
        arrival.at = moved_from + (arrival.at - from) / rate;
    }
}

/// From 1 to 40 requests. Short sessions are as common as long ones on a logarithmic scale.
fn session_length(random: &mut Random) -> u32 {
    41_f64.powf(random.unit()) as u32
}

fn mean_session_length() -> f64 {
    const SAMPLES: u32 = 20_000;
    let mut random = Random::of([7]);
    let sum: u32 = (0..SAMPLES).map(|_| session_length(&mut random)).sum();
    f64::from(sum) / f64::from(SAMPLES)
}
