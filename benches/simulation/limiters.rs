//! How a provider limits one key. All times are in seconds since the start.

use crate::random::{LogNormal, Random};

/// Why a request is refused: how long to wait, if the provider says so.
pub struct Refused {
    pub wait: Option<f64>,
}

/// The limit of one key.
pub trait Limiter: Send {
    /// Decides about a request that arrives `now`.
    fn admit(&mut self, now: f64) -> Result<(), Refused>;

    /// An admitted request ends.
    fn finish(&mut self) {}

    fn boxed(self) -> Box<dyn Limiter>
    where
        Self: Sized + 'static,
    {
        Box::new(self)
    }
}

/// A bucket that fills continuously. A refusal names the time until there is enough in it.
pub struct TokenBucket {
    per_second: f64,
    capacity: f64,
    level: f64,
    filled_at: f64,
}

impl TokenBucket {
    pub fn new(per_minute: f64, capacity: f64) -> Self {
        Self {
            per_second: per_minute / 60.0,
            capacity,
            level: capacity,
            filled_at: 0.0,
        }
    }
}

impl TokenBucket {
    fn take(&mut self, cost: f64, now: f64) -> Result<(), Refused> {
        let added = (now - self.filled_at) * self.per_second;
        self.level = (self.level + added).min(self.capacity);
        self.filled_at = now;
        let missing = cost - self.level;
        if missing > 1e-9 {
            let wait = Some(missing / self.per_second);
            return Err(Refused { wait });
        }
        self.level -= cost;
        Ok(())
    }
}

impl Limiter for TokenBucket {
    fn admit(&mut self, now: f64) -> Result<(), Refused> {
        self.take(1.0, now)
    }
}

/// A bucket of tokens that fills continuously. Requests take different amounts.
pub struct Tokens {
    bucket: TokenBucket,
    random: Random,
}

impl Tokens {
    const COST: LogNormal = LogNormal {
        median: 2000.0,
        sigma: 1.3,
        min: 100.0,
        max: 60_000.0,
    };

    /// As many tokens as so many requests take on average.
    pub fn new(per_minute: f64, random: Random) -> Self {
        let mean = Self::COST.mean();
        let capacity = 60_f64.max(per_minute) * mean;
        Self {
            bucket: TokenBucket::new(per_minute * mean, capacity),
            random,
        }
    }
}

impl Limiter for Tokens {
    fn admit(&mut self, now: f64) -> Result<(), Refused> {
        let cost = self.random.log_normal(Self::COST);
        self.bucket.take(cost, now)
    }
}

/// So many requests in each minute. A refusal names the rest of the minute.
pub struct FixedWindow {
    limit: u32,
    /// How long before the start the first minute began.
    offset: f64,
    window: u64,
    used: u32,
}

impl FixedWindow {
    const LENGTH: f64 = 60.0;

    pub fn new(limit: u32, offset: f64) -> Self {
        Self {
            limit,
            offset,
            window: 0,
            used: 0,
        }
    }
}

impl Limiter for FixedWindow {
    fn admit(&mut self, now: f64) -> Result<(), Refused> {
        let windows = (now + self.offset) / Self::LENGTH;
        if windows as u64 != self.window {
            (self.window, self.used) = (windows as u64, 0);
        }
        if self.used == self.limit {
            let wait = Some((1.0 - windows.fract()) * Self::LENGTH);
            return Err(Refused { wait });
        }
        self.used += 1;
        Ok(())
    }
}

/// So many requests at the same time.
pub struct Concurrency {
    limit: u32,
    in_use: u32,
    wait: Option<f64>,
}

impl Concurrency {
    pub fn new(limit: u32, wait: Option<f64>) -> Self {
        Self {
            limit,
            in_use: 0,
            wait,
        }
    }
}

impl Limiter for Concurrency {
    fn admit(&mut self, _: f64) -> Result<(), Refused> {
        if self.in_use == self.limit {
            return Err(Refused { wait: self.wait });
        }
        self.in_use += 1;
        Ok(())
    }

    fn finish(&mut self) {
        self.in_use -= 1;
    }
}

/// Refuses everything for some time, whatever wait it names.
pub struct Outage {
    pub from: f64,
    pub to: f64,
    pub wait: f64,
}

impl Limiter for Outage {
    fn admit(&mut self, now: f64) -> Result<(), Refused> {
        if (self.from..self.to).contains(&now) {
            let wait = Some(self.wait);
            return Err(Refused { wait });
        }
        Ok(())
    }
}

/// Refuses one request.
pub struct FirstRefused {
    pub wait: f64,
    pub is_over: bool,
}

impl Limiter for FirstRefused {
    fn admit(&mut self, _: f64) -> Result<(), Refused> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let wait = Some(self.wait);
        Err(Refused { wait })
    }
}
