//! How long a key cools down if its provider names no wait: always for a minute, or for a second at first and
//! then for longer.
//!
//! The provider allows 16 requests at the same time for each key. The figures are means over 1, 3 and 10 keys
//! and over four loads.

use std::time::Duration;

use tower_key_failover::pool::KeyPoolBuilder;

use crate::arrivals::Load;
use crate::limiters::{Concurrency, Limiter};
use crate::model::Figures;
use crate::parallel;
use crate::run::{Outcome, Run};
use crate::table::{Options, Row, Table};

const CAPACITY: u32 = 16;
const KEYS: [usize; 3] = [1, 3, 10];
const LOADS: [f64; 4] = [0.5, 0.8, 1.0, 1.3];
const WAIT: Duration = Duration::from_secs(10);

struct Setting {
    name: &'static str,
    wait_for_key: Option<Duration>,
    cooldown: fn(KeyPoolBuilder) -> KeyPoolBuilder,
}

fn fixed(pool: KeyPoolBuilder) -> KeyPoolBuilder {
    pool.default_cooldown(Duration::from_secs(60))
}

fn exponential(pool: KeyPoolBuilder) -> KeyPoolBuilder {
    pool.exponential_cooldown(Duration::from_secs(1)..=Duration::from_secs(60))
}

/// In the order of the model's lines.
fn settings() -> [Setting; 4] {
    let setting = |name, wait_for_key, cooldown: fn(KeyPoolBuilder) -> _| Setting {
        name,
        wait_for_key,
        cooldown,
    };
    [
        setting("60 s", None, fixed),
        setting("1 s to 60 s", None, exponential),
        setting("60 s, waits", Some(WAIT), fixed),
        setting("1 s to 60 s, waits", Some(WAIT), exponential),
    ]
}

fn run(setting: &Setting, keys: usize, load: f64, served: f64, seed: u64) -> Run {
    let rate = load * keys as f64 * f64::from(CAPACITY) / served;
    let limiter = || Concurrency::new(CAPACITY, None).boxed();
    Run {
        limiters: std::iter::repeat_with(limiter).take(keys).collect(),
        delay: 0.04,
        arrivals: Load::CHAT.rate(rate).bursty().arrivals(900.0, seed),
        warm_up: 180.0,
        wait_for_key: setting.wait_for_key,
        max_attempts: Some(8.max(2 * keys)),
        pool: setting.cooldown,
        weights: None,
        has_affinity: false,
        seed,
    }
}

pub fn table(options: &Options) -> Table {
    const CASES: usize = KEYS.len() * LOADS.len();

    let settings = settings();
    let model = Figures::read(include_str!("model/cooldowns.txt"));
    assert_eq!(model.len(), settings.len());
    let served = Load::CHAT.service.mean();
    let outcomes = parallel::map(settings.len() * options.seeds * CASES, |at| {
        let (of_setting, case) = (at / CASES, at % CASES);
        let setting = &settings[of_setting / options.seeds];
        let (keys, load) = (KEYS[case / LOADS.len()], LOADS[case % LOADS.len()]);
        run(setting, keys, load, served, at as u64).simulate()
    });
    // Of each seed, the mean over all cases.
    let seeds: Vec<_> = outcomes.chunks(CASES).map(Outcome::mean).collect();
    let rows = settings
        .iter()
        .zip(model)
        .zip(seeds.chunks(options.seeds))
        .map(|((setting, model), outcomes)| Row {
            name: setting.name.to_owned(),
            model: model[0],
            measured: Figures::of(outcomes),
        });
    Table {
        heading: "Cooldowns of an unknown length",
        seeds: options.seeds,
        rows: rows.collect(),
    }
}
