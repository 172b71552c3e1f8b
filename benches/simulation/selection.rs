//! Which key a request uses: each strategy, and affinity.
//!
//! Ten keys at 80 % of what they allow together. The figures are means over four kinds of limits, each with steady
//! and with bursty load. In the second half of the rows, every other key allows four times as much as the rest.

use tower_key_failover::pool::{KeyPoolBuilder, Selection};

use crate::arrivals::Load;
use crate::limiters::{Concurrency, FixedWindow, Limiter, TokenBucket, Tokens};
use crate::model::Figures;
use crate::parallel;
use crate::random::Random;
use crate::run::{Outcome, Run};
use crate::table::{Options, Row, Table};

const KEYS: usize = 10;
const LOAD: f64 = 0.8;
const LIMITS: [Limit; 4] = [
    Limit::Bucket,
    Limit::Window,
    Limit::Concurrency,
    Limit::Tokens,
];
/// Each limit with steady and with bursty load.
const CASES: usize = 2 * LIMITS.len();

#[derive(Clone, Copy, PartialEq)]
enum Limit {
    Bucket,
    Window,
    Concurrency,
    Tokens,
}

impl Limit {
    /// The limit of a key that allows `share` times as much as an average key.
    fn of_key(self, share: f64, random: &mut Random) -> Box<dyn Limiter> {
        match self {
            Self::Bucket => TokenBucket::new(60.0 * share, 10.0).boxed(),
            Self::Window => FixedWindow::new((60.0 * share) as u32, random.unit() * 60.0).boxed(),
            Self::Concurrency => Concurrency::new((10.0 * share) as u32, Some(1.0)).boxed(),
            Self::Tokens => Tokens::new(60.0 * share, Random::of([random.next()])).boxed(),
        }
    }

    /// Requests per second that an average key allows.
    fn rate(self) -> f64 {
        match self {
            Self::Bucket | Self::Window | Self::Tokens => 1.0,
            Self::Concurrency => 10.0 / Load::CHAT.service.mean(),
        }
    }
}

#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    pool: fn(KeyPoolBuilder) -> KeyPoolBuilder,
    has_affinity: bool,
    has_unequal_keys: bool,
}

/// In the order of the model's lines.
fn settings() -> Vec<Setting> {
    let setting = |name, pool: fn(KeyPoolBuilder) -> _, has_affinity| Setting {
        name,
        pool,
        has_affinity,
        has_unequal_keys: false,
    };
    let equal = [
        setting("in order", |pool| pool, false),
        setting(
            "round robin",
            |pool| pool.selection(Selection::round_robin()),
            false,
        ),
        setting(
            "weighted",
            |pool| pool.selection(Selection::weighted()),
            false,
        ),
        setting(
            "least in flight",
            |pool| pool.selection(Selection::least_in_flight()),
            false,
        ),
        setting("affinity", |pool| pool, true),
    ];
    let unequal = equal.map(|setting| Setting {
        has_unequal_keys: true,
        ..setting
    });
    equal.into_iter().chain(unequal).collect()
}

fn run(setting: Setting, limit: Limit, is_bursty: bool, seed: u64) -> Run {
    let mut random = Random::of([seed, 4]);
    let share = |at: usize| match (setting.has_unequal_keys, at % 2) {
        (false, _) => 1.0,
        (true, 0) => 0.4,
        (true, _) => 1.6,
    };
    let load = Load::CHAT.rate(LOAD * KEYS as f64 * limit.rate());
    let load = if is_bursty { load.bursty() } else { load };
    Run {
        limiters: (0..KEYS)
            .map(|at| limit.of_key(share(at), &mut random))
            .collect(),
        delay: 0.04,
        arrivals: load.arrivals(900.0, seed),
        warm_up: 120.0,
        wait_for_key: None,
        max_attempts: None,
        pool: setting.pool,
        weights: setting
            .has_unequal_keys
            .then_some(|at| if at % 2 == 0 { 1 } else { 4 }),
        has_affinity: setting.has_affinity,
        seed,
    }
}

pub fn table(options: &Options) -> Table {
    let settings = settings();
    let model = Figures::read(include_str!("model/selection.txt"));
    assert_eq!(model.len(), settings.len());
    let outcomes = parallel::map(settings.len() * options.seeds * CASES, |at| {
        let (of_setting, case) = (at / CASES, at % CASES);
        let setting = settings[of_setting / options.seeds];
        // All settings have the same arrivals.
        let seed = (of_setting % options.seeds * CASES + case) as u64;
        run(setting, LIMITS[case / 2], case % 2 == 1, seed).simulate()
    });
    // Of each seed, the mean over all cases.
    let seeds: Vec<_> = outcomes.chunks(CASES).map(Outcome::mean).collect();
    let rows = settings
        .iter()
        .zip(model)
        .zip(seeds.chunks(options.seeds))
        .map(|((setting, model), outcomes)| {
            let keys = if setting.has_unequal_keys {
                "unequal"
            } else {
                "equal"
            };
            let hits = Outcome::mean(outcomes).hit_rate();
            Row {
                name: format!("{}, {keys} keys, {hits:.2} cache hits", setting.name),
                model: model[0],
                measured: Figures::of(outcomes),
            }
        });
    Table {
        heading: "Selection",
        seeds: options.seeds,
        rows: rows.collect(),
    }
}
