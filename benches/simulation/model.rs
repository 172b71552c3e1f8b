//! Figures with their spread over seeds, measured and as the model has them.

use crate::run::Outcome;

/// A mean over some seeds, and the standard deviation of one seed.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub mean: f64,
    pub deviation: f64,
}

/// For each 1,000 requests.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Requests that fail.
    pub failed: Figure,
    /// Attempts that are refused.
    pub refused: Figure,
}

/// The number of seeds behind the model's figures.
const SEEDS: f64 = 10.0;

impl Figure {
    fn of(samples: impl Iterator<Item = f64> + Clone) -> Self {
        let count = samples.clone().count() as f64;
        let mean = samples.clone().sum::<f64>() / count;
        let squares: f64 = samples.map(|sample| (sample - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        Self { mean, deviation }
    }

    /// The range in which the mean of so many measured seeds is expected.
    ///
    /// Three standard deviations of the difference, and a tenth for what the model leaves out: for
    /// example, it knows the time more precisely than a timer does.
    pub fn expected(self, seeds: usize) -> std::ops::RangeInclusive<f64> {
        let spread = self.deviation * (1.0 / SEEDS + 1.0 / seeds as f64).sqrt();
        let tolerance = 3.0 * spread + 0.1 * self.mean + 5.0;
        self.mean - tolerance..=self.mean + tolerance
    }
}

impl Figures {
    pub fn of(outcomes: &[Outcome]) -> Self {
        let outcomes = outcomes.iter();
        Self {
            failed: Figure::of(outcomes.clone().map(Outcome::failed_per_mille)),
            refused: Figure::of(outcomes.map(Outcome::refused_per_mille)),
        }
    }

    /// Reads the lines of a file in `model`. Each line contains a few sets of figures.
    pub fn read(text: &str) -> Vec<Vec<Self>> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let read = |line: &str| {
            let numbers = line
                .split_whitespace()
                .map(|number| number.parse().unwrap());
            let numbers: Vec<f64> = numbers.collect();
            let figure = |at: &[f64]| Figure {
                mean: at[0],
                deviation: at[1],
            };
            let figures = |at: &[f64]| Self {
                failed: figure(&at[..2]),
                refused: figure(&at[2..]),
            };
            numbers.chunks(4).map(figures).collect()
        };
        lines.map(read).collect()
    }
}
