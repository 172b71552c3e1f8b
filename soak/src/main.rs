//! A soak test of the gateway. The clients are slow and disconnect at any time. The upstream refuses
//! keys, stalls, aborts responses and never ends some. The test accounts for every request.
//!
//! ```text
//! cargo build -p key-failover-gateway && SOAK_SECONDS=300 cargo run --bin soak
//! ```
//!
//! There are two lanes, with an upstream that speaks HTTP/1.1 and one that speaks HTTP/2. Each lane has two replicas of
//! the gateway, which share their limits over a server that the test starts: `redis-server` and `redis-cli` must be in
//! `PATH`. During the run, one replica of each lane restarts, and the server is killed and starts again without its data.
//!
//! Every request has a number, and a checksum of number and body. The test exits with status 1 if one
//! of these conditions is violated:
//!
//! - every request ends once: it succeeds, fails, or is cancelled by its client;
//! - a success that the upstream has sent completely reaches its client, even if the replica stops meanwhile;
//! - a request reaches the upstream of its route, with a key of that route;
//! - a response belongs to its request, and is complete unless it is visibly cut;
//! - a body that the upstream has received completely equals the body that was sent;
//! - a request tries a key again only after a rate limit, and no further key after a response that is not a
//!   refusal;
//! - the upstream sees the pool's keys or the caller's, and never the gateway's token;
//! - the upstream's responses explain the state of each key, and of each scope of a key: a rate limit explains the
//!   state of all keys of a group in both replicas, any other refusal only that of the key in the replica that got it;
//! - replicas agree on limits within 10 s: after a restart, after an outage of the server, and after a limit that only
//!   one of them has seen;
//! - what an operator does to one replica applies to the other one, and to one that restarts. No attempt starts with a
//!   disabled or removed key;
//! - a session keeps its key, whichever replica serves it;
//! - the server sees no key, no part of a key, no name of a group or a scope, and no token;
//! - in no replica, a key has more requests in flight than its cap, and none at the end;
//! - memory, files and threads of each replica return to their initial level, and it stops on SIGTERM.
//!
//! `SOAK_GATEWAY` is the path of another build of the gateway. `SOAK_SECONDS` is 60 by default. `SOAK_SEED` is printed. It determines what happens to each request,
//! but not what happens concurrently. The routes of the two lanes have all strategies, every key has a cap, some
//! keys are in groups, and some requests belong to sessions. The resources of the replicas are read from `/proc`.
//!
//! `SOAK_OPERATORS=1` adds operators who change the list of keys, and disable and reinstate keys, during the whole run.
//!
//! - `lane.rs` contains the parts of a lane, and `calm.rs` its end;
//! - `traffic.rs` contains the clients;
//! - `upstream.rs`, `connections.rs`, `upload.rs` and `responses.rs` contain the upstream;
//! - `replica.rs`, `gateway.rs`, `files.rs` and `figures.rs` start, observe and stop the gateway;
//! - `server.rs` contains the server that replicas share;
//! - `disturbance.rs` contains the restart and the outage, `operator.rs` and `admin.rs` the operators;
//! - `ledger.rs` accounts for requests, `keys.rs` and `key.rs` for keys, `states.rs` and `agreement.rs` for their
//!   states, `in_flight.rs` for caps;
//! - `payload.rs` generates bodies, `random.rs` reproducible random numbers, `waiting.rs` waits.

// A binary has no public API.
#![allow(unreachable_pub)]

mod admin;
mod agreement;
mod calm;
mod connections;
mod disturbance;
mod figures;
mod files;
mod gateway;
mod in_flight;
mod key;
mod keys;
mod lane;
mod ledger;
mod operator;
mod payload;
mod random;
mod replica;
mod responses;
mod server;
mod states;
mod traffic;
mod upload;
mod upstream;
mod waiting;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_key_failover::BoxError;

use self::connections::Protocol;
use self::lane::Lane;
use self::ledger::Ledger;
use self::waiting::within;

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

async fn run() -> Result<usize, BoxError> {
    let seconds = setting("SOAK_SECONDS")?.unwrap_or(60);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = setting("SOAK_SEED")?.unwrap_or(now.as_secs());
    let has_operators = setting("SOAK_OPERATORS")?.is_some_and(|count| count > 0);
    println!("{seconds} s with SOAK_SEED={seed}");

    let time = Duration::from_secs(seconds);
    let ledger = Arc::new(Ledger::default());
    let mut lanes = Vec::new();
    for (name, protocol) in [("h1", Protocol::Http1), ("h2", Protocol::Http2)] {
        lanes.push(Lane::start(name, protocol, seed, time, &ledger).await?);
    }

    fire(&lanes, time, has_operators, &ledger).await?;
    for lane in &lanes {
        lane.calm().await?;
    }
    for lane in lanes {
        lane.end().await?;
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

/// Runs all clients against all replicas.
async fn fire(
    lanes: &[Lane],
    time: Duration,
    has_operators: bool,
    ledger: &Ledger,
) -> Result<(), BoxError> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for lane in lanes {
        lane.spawn(&mut tasks, start, time, has_operators);
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    while Instant::now() < start + time {
        ticks.tick().await;
        for lane in lanes {
            lane.look().await?;
        }
    }
    let ended = within(60, async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                ledger.violation(format!("a task failed: {error}"));
            }
        }
    });
    if ended.await.is_err() {
        ledger.violation("clients still wait for responses");
    }
    Ok(())
}
