//! Reproducible random numbers with the distributions of the traffic.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// A logarithmic normal distribution that is clipped to a range.
#[derive(Clone, Copy, Debug)]
pub struct LogNormal {
    pub median: f64,
    pub sigma: f64,
    pub min: f64,
    pub max: f64,
}

impl Random {
    /// Each combination of numbers starts a sequence of its own.
    pub fn of<const N: usize>(seed: [u64; N]) -> Self {
        seed.iter().fold(Self(0), |random, part| {
            let mut mixed = Self(random.0 ^ part);
            Self(mixed.next())
        })
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Between 0 and 1, both excluded.
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    pub fn log_normal(&mut self, distribution: LogNormal) -> f64 {
        // Box-Muller.
        let radius = (-2.0 * self.unit().ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        let LogNormal {
            median,
            sigma,
            min,
            max,
        } = distribution;
        (median * (sigma * normal).exp()).clamp(min, max)
    }
}

impl LogNormal {
    pub fn mean(self) -> f64 {
        const SAMPLES: u32 = 200_000;
        let mut random = Random::of([SAMPLES.into()]);
        let sum: f64 = (0..SAMPLES).map(|_| random.log_normal(self)).sum();
        sum / f64::from(SAMPLES)
    }
}
