//! A soak test of the gateway. The clients are slow and disconnect at any time. The upstream refuses
//! keys, stalls, aborts responses and never ends some. The test accounts for every request.
//!
//! ```text
//! cargo build -p key-failover-gateway && SOAK_SECONDS=300 cargo run --bin soak
//! ```
//!
//! Every request has a number, and a checksum of number and body. The test exits with status 1 if one
//! of these conditions is violated:
//!
//! - every request ends once: it succeeds, fails, or is cancelled by its client;
//! - a request reaches the upstream of its route, with a key of that route;
//! - a response belongs to its request, and is complete unless it is visibly cut;
//! - a body that the upstream has received completely equals the body that was sent;
//! - a request tries a key again only after a rate limit, and no further key after a response that is not a
//!   refusal;
//! - the upstream sees the pool's keys or the caller's, and never the gateway's token;
//! - the upstream's responses explain the state of each key, and of each scope of a key;
//! - no key has more requests in flight than its cap, and none at the end;
//! - memory, files and tasks of the gateway return to their initial level, and it stops on SIGTERM.
//!
//! `SOAK_SECONDS` is 60 by default. `SOAK_SEED` is printed. It determines what happens to each request,
//! but not what happens concurrently. The routes of the two gateways have all strategies, every key has a cap, and some
//! requests belong to sessions. The resources of the gateway are read from `/proc`.
//!
//! `SOAK_OPERATORS=1` adds operators who change the list of keys, and disable and reinstate keys.
//!
//! - `traffic.rs` contains the clients;
//! - `upstream.rs`, `upload.rs` and `responses.rs` contain the upstream;
//! - `gateway.rs` starts and stops the gateway;
//! - `operator.rs` contains the operators;
//! - `ledger.rs` accounts for requests, `keys.rs` for keys, `in_flight.rs` for caps;
//! - `payload.rs` generates bodies, `random.rs` reproducible random numbers.

// A binary has no public API.
#![allow(unreachable_pub)]

mod gateway;
mod in_flight;
mod keys;
mod ledger;
mod operator;
mod payload;
mod random;
mod responses;
mod traffic;
mod upload;
mod upstream;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower_key_failover::BoxError;

use self::gateway::{ADMIN_TOKEN, Figures, Gateway, come_down, settled};
use self::keys::Keys;
use self::ledger::Ledger;
use self::operator::Operator;
use self::traffic::Traffic;
use self::upstream::{Protocol, TOKEN, Upstream, within};

const CLIENTS: usize = 6;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => {
            println!("\nNo violations.");
            ExitCode::SUCCESS
        }
        Ok(violations) => {
            println!("\n{violations} violations.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A gateway and its upstream.
struct Lane {
    upstream: Arc<Upstream>,
    gateway: Gateway,
    traffic: Traffic,
    start: Figures,
    /// After the warm-up.
    warm: Figures,
    most: Figures,
}

async fn run() -> Result<usize, BoxError> {
    let seconds = setting("SOAK_SECONDS")?.unwrap_or(60);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = setting("SOAK_SEED")?.unwrap_or(now.as_secs());
    println!("{seconds} s with SOAK_SEED={seed}");

    let time = Duration::from_secs(seconds);
    let ledger = Arc::new(Ledger::default());
    let mut lanes = Vec::new();
    for (name, protocol) in [("h1", Protocol::Http1), ("h2", Protocol::Http2)] {
        lanes.push(Lane::start(name, protocol, seed, time, &ledger).await?);
    }

    fire(&mut lanes, time, &ledger).await?;
    calm(&lanes).await?;
    for lane in lanes {
        lane.end(&ledger).await?;
    }

    let summary = ledger.summary();
    println!(
        "\n{} requests ({} with a key of their own): {:?}",
        summary.sent, summary.own, summary.classes
    );
    for (outcome, count) in &summary.outcomes {
        println!("{count:10} {outcome:?}");
    }
    println!(
        "{} attempts, {} requests with more than one; {} uploads arrived whole",
        summary.attempts, summary.failovers, summary.uploads
    );
    Ok(ledger.violations())
}

/// Reads a number from the environment.
fn setting(name: &str) -> Result<Option<u64>, BoxError> {
    match std::env::var(name) {
        Ok(value) => match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{name} is not a number").into()),
        },
        Err(_) => Ok(None),
    }
}

/// Runs all clients against all gateways.
async fn fire(lanes: &mut [Lane], time: Duration, ledger: &Arc<Ledger>) -> Result<(), BoxError> {
    let has_operators = setting("SOAK_OPERATORS")?.is_some_and(|count| count > 0);
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for lane in &*lanes {
        if has_operators {
            let operator = Operator {
                upstream: Arc::clone(&lane.upstream),
                admin: lane.gateway.admin.clone(),
                ledger: Arc::clone(ledger),
            };
            clients.spawn(operator.run(start + time));
        }
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for _ in 0..CLIENTS {
                clients.spawn(lane.traffic.clone().run(protocol, start + time));
            }
        }
    }
    // By then, one-time allocations are done.
    let warm = start + time / 4;
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    while Instant::now() < start + time {
        ticks.tick().await;
        for lane in &mut *lanes {
            lane.look(Instant::now() < warm, ledger).await?;
        }
    }
    let ended = within(30, async {
        while let Some(ended) = clients.join_next().await {
            if let Err(error) = ended {
                ledger.violation(format!("a client failed: {error}"));
            }
        }
    });
    if ended.await.is_err() {
        ledger.violation("clients still wait for responses");
    }
    Ok(())
}

/// Sends requests until the gateway has seen the refusal of each key that is no longer valid.
async fn calm(lanes: &[Lane]) -> Result<(), BoxError> {
    for lane in lanes {
        lane.upstream.calm_down();
    }
    // Longer than a short rate limit and a body inspection.
    sleep(Duration::from_secs(2)).await;
    for lane in lanes {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            lane.traffic.clone().ask_well(protocol, 40).await;
        }
    }
    Ok(())
}

impl Lane {
    async fn start(
        name: &'static str,
        protocol: Protocol,
        seed: u64,
        time: Duration,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, BoxError> {
        let keys = Keys::new(name, seed, time);
        let upstream = Arc::new(Upstream::new(name, keys, seed, Arc::clone(ledger)));
        let address = upstream.listen(protocol).await?;
        let gateway = Gateway::start(&upstream, &address).await?;
        let traffic = Traffic {
            seed,
            ledger: Arc::clone(ledger),
            url: gateway.url.clone(),
        };
        let start = settled(&gateway).await?;
        Ok(Self {
            upstream,
            gateway,
            traffic,
            start,
            warm: start,
            most: start,
        })
    }

    async fn look(&mut self, is_warming: bool, ledger: &Ledger) -> Result<(), BoxError> {
        let figures = self.gateway.figures()?;
        self.most.resident = self.most.resident.max(figures.resident);
        self.most.files = self.most.files.max(figures.files);
        self.most.threads = self.most.threads.max(figures.threads);
        if is_warming {
            self.warm = self.most;
        }
        self.look_at_keys(false, ledger).await
    }

    async fn look_at_keys(&self, at_the_end: bool, ledger: &Ledger) -> Result<(), BoxError> {
        let asked = Instant::now();
        let shown = self.gateway.admin.keys().await?;
        for wrong in self.upstream.keys.unexplained(&shown, asked, at_the_end) {
            ledger.violation(wrong);
        }
        Ok(())
    }

    async fn end(self, ledger: &Ledger) -> Result<(), BoxError> {
        const MEGABYTE: u64 = 1 << 20;

        let name = self.upstream.name;
        self.look_at_keys(true, ledger).await?;
        self.upstream.close();
        let end = come_down(&self.gateway, self.start.files).await?;
        let shown = self.gateway.admin.keys().await?;
        for wrong in self.upstream.keys.in_flight(&shown) {
            ledger.violation(wrong);
        }
        let (start, warm, most) = (self.start, self.warm, self.most);
        println!("\n{name}: {:>10} {:>6} {:>8}", "memory", "files", "threads");
        for (when, figures) in [
            ("start", start),
            ("warm", warm),
            ("most", most),
            ("end", end),
        ] {
            let megabytes = figures.resident as f64 / MEGABYTE as f64;
            let (files, threads) = (figures.files, figures.threads);
            println!("{when:>5} {megabytes:>5.1} MiB {files:>6} {threads:>8}");
        }
        let most = self.upstream.keys.most_in_flight();
        println!("at most {most} requests with one key at the same time");
        if end.files > start.files {
            ledger.violation(format!("{name}: files are still open"));
        }
        if end.resident > warm.resident + warm.resident / 4 + 8 * MEGABYTE {
            ledger.violation(format!("{name}: memory has grown"));
        }
        let errors = self.gateway.end().await?;
        for forbidden in ["panicked", "soak-h", "own-0", TOKEN, ADMIN_TOKEN] {
            if errors.contains(forbidden) {
                ledger.violation(format!("{name}: stderr holds {forbidden:?}"));
            }
        }
        Ok(())
    }
}
