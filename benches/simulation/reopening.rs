//! How keys return after their cooldowns: 24 providers and loads, each with and without waiting.

use std::time::Duration;

use crate::arrivals::Load;
use crate::limiters::Limiter;
use crate::model::Figures;
use crate::parallel;
use crate::random::Random;
use crate::run::Run;
use crate::scenarios::scenarios;
use crate::table::{Options, Row, Table};

pub struct Scenario {
    pub name: &'static str,
    keys: usize,
    limiter: fn(&mut Random, usize) -> Box<dyn Limiter>,
    load: Load,
    duration: f64,
    warm_up: f64,
    delay: f64,
}

/// How long a request may wait for a key, if it waits at all.
const WAIT: Duration = Duration::from_secs(10);

impl Scenario {
    pub fn new(
        name: &'static str,
        keys: usize,
        limiter: fn(&mut Random, usize) -> Box<dyn Limiter>,
        load: Load,
    ) -> Self {
        Self {
            name,
            keys,
            limiter,
            load,
            duration: 600.0,
            warm_up: 60.0,
            delay: 0.04,
        }
    }

    pub fn lasts(self, duration: f64, warm_up: f64) -> Self {
        Self {
            duration,
            warm_up,
            ..self
        }
    }

    pub fn delay(self, delay: f64) -> Self {
        Self { delay, ..self }
    }

    fn run(&self, wait_for_key: Option<Duration>, seed: u64) -> Run {
        let mut random = Random::of([seed, 3]);
        Run {
            limiters: (0..self.keys)
                .map(|at| (self.limiter)(&mut random, at))
                .collect(),
            delay: self.delay,
            arrivals: self.load.arrivals(self.duration, seed),
            warm_up: self.warm_up,
            wait_for_key,
            max_attempts: wait_for_key.map(|_| 8.max(2 * self.keys)),
            pool: |pool| pool,
            weights: None,
            has_affinity: false,
            seed,
        }
    }
}

/// Runs all scenarios.
pub fn table(options: &Options) -> Table {
    let scenarios = scenarios();
    let model = Figures::read(include_str!("model/reopening.txt"));
    assert_eq!(model.len(), scenarios.len());
    let runs = scenarios.iter().zip(model).flat_map(|(scenario, model)| {
        let [without, with] = model[..] else {
            panic!("each line of the model has two sets of figures");
        };
        [(scenario, None, without), (scenario, Some(WAIT), with)]
    });
    let runs: Vec<_> = runs.collect();
    let outcomes = parallel::map(runs.len() * options.seeds, |at| {
        let (scenario, wait, _) = runs[at / options.seeds];
        scenario.run(wait, at as u64).simulate()
    });
    let measured = outcomes.chunks(options.seeds).map(Figures::of);
    let row = |((scenario, wait, model), measured): ((&Scenario, Option<Duration>, _), _)| {
        let waits = if wait.is_some() { ", waits" } else { "" };
        Row {
            name: format!("{}{waits}", scenario.name),
            model,
            measured,
        }
    };
    Table {
        heading: "Keys that reopen after a cooldown",
        seeds: options.seeds,
        rows: runs.into_iter().zip(measured).map(row).collect(),
    }
}
