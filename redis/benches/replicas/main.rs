//! What sharing gains and costs, with the real layer and a real `redis-server`. `run` beside this file
//! starts it, and `report` makes tables of what it prints.
//!
//! `replicas refusals <windows | buckets> <in-order | round-robin> <none | polls | pushes> <replicas>
//! <seed>` measures for a minute how often replicas are refused that send 120 % of what ten keys allow.
//! `replicas latency <requests per second> <seed>` measures the time from a mark to its application.
//! `replicas idle` counts the commands of a replica of which nobody wants anything.
//! `replicas smoke` is a short run, which fails if sharing does not help.

mod latency;
mod limit;
mod process;
mod provider;
mod random;
mod refusals;
mod replica;
mod scenario;
mod server;

use std::time::Duration;

use tokio::time::sleep;
use tower_key_failover::pool::Selection;

use crate::limit::Kind;
use crate::refusals::Figures;
use crate::replica::Replica;
use crate::scenario::{Scenario, Sharing};
use crate::server::Server;

#[tokio::main]
async fn main() {
    // Cargo adds an argument of its own.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let args: Vec<String> = args.collect();
    let is_done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["refusals", limits, selection, sharing, replicas, seed] => {
            let (replicas, seed) = (number(replicas), number(seed) as u64);
            refusals(limits, selection, sharing, replicas, seed).await
        }
        ["latency", load, seed] => latency(number(load) as u32, number(seed) as u64).await,
        ["idle"] => idle().await,
        ["smoke"] => smoke().await,
        // Cargo runs every bench when it is not told which. This one has nothing to say then.
        _ => Some(()),
    };
    if is_done.is_none() {
        println!("skipped: no redis-server in PATH");
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

async fn refusals(
    limits: &str,
    selection: &str,
    sharing: &str,
    replicas: usize,
    seed: u64,
) -> Option<()> {
    let minute = Duration::from_secs(60);
    let scenario = Scenario {
        kind: match limits {
            "windows" => Kind::Windows(minute),
            "buckets" => Kind::Buckets,
            _ => panic!("no such limits: {limits}"),
        },
        sharing: match sharing {
            "none" => Sharing::None,
            "polls" => Sharing::Polls,
            "pushes" => Sharing::Pushes,
            _ => panic!("no such sharing: {sharing}"),
        },
        replicas,
        keys: 10,
        selection: match selection {
            "in-order" => Selection::in_order(),
            "round-robin" => Selection::round_robin(),
            _ => panic!("no such selection: {selection}"),
        },
        requests_per_second: 120.0,
        load: 1.2,
        way: Duration::from_millis(40),
        warm_up: minute / 2,
        measured: minute,
        seed,
    };
    let Figures {
        attempts_per_minute,
        refused_per_minute,
        failed_per_1000,
        server_cpu,
        commands_per_minute,
        bytes_to_server_per_second,
        bytes_from_server_per_second,
        replica_bytes,
        server_bytes,
    } = refusals::measure(scenario).await?;
    println!(
        "{{\"part\": \"refusals\", \"limits\": \"{limits}\", \"selection\": \"{selection}\", \"sharing\": \"{sharing}\", \
         \"replicas\": {replicas}, \"attempts_per_minute\": {attempts_per_minute:.0}, \
         \"refused_per_minute\": {refused_per_minute:.0}, \"failed_per_1000\": {failed_per_1000:.0}, \
         \"server_cpu\": {server_cpu:.2}, \"commands_per_minute\": {commands_per_minute:.1}, \
         \"bytes_to_server_per_second\": {bytes_to_server_per_second:.1}, \
         \"bytes_from_server_per_second\": {bytes_from_server_per_second:.1}, \
         \"replica_bytes\": {replica_bytes:.0}, \"server_bytes\": {server_bytes:.0}}}"
    );
    Some(())
}

async fn latency(load: u32, seed: u64) -> Option<()> {
    let latency = latency::measure(1_000, load, seed).await?;
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| latency.quantile_us(part));
    println!(
        "{{\"part\": \"latency\", \"requests_per_second\": {load}, \"p50_us\": {p50:.0}, \
         \"p99_us\": {p99:.0}, \"max_us\": {max:.0}, \"commands_per_mark\": {:.2}}}",
        latency.commands_per_mark
    );
    Some(())
}

async fn idle() -> Option<()> {
    let server = Server::start().await?;
    let replica = Replica::shared(&server.url(), 10, Selection::in_order(), 1);
    replica.connected().await;
    let before = server.statistics().await;
    sleep(Duration::from_secs(60)).await;
    let after = server.statistics().await;
    println!(
        "{{\"part\": \"idle\", \"commands_per_minute\": {}}}",
        after.commands - before.commands
    );
    Some(())
}

/// A wide margin: without sharing, there are about ten times as many refusals.
async fn smoke() -> Option<()> {
    let scenario = |sharing| Scenario {
        kind: Kind::Windows(Duration::from_secs(2)),
        sharing,
        replicas: 50,
        keys: 5,
        selection: Selection::in_order(),
        requests_per_second: 250.0,
        load: 1.2,
        way: Duration::from_millis(2),
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(6),
        seed: 1,
    };
    let none = refusals::measure(scenario(Sharing::None)).await?;
    let pushes = refusals::measure(scenario(Sharing::Pushes)).await?;
    let (none, pushes) = (none.refused_per_minute, pushes.refused_per_minute);
    println!("refused per minute: {none:.0} without sharing, {pushes:.0} with it");
    assert!(pushes * 2.0 < none, "sharing does not help");
    assert!(pushes > 0.0, "nothing was refused");
    Some(())
}
