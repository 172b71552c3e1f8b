//! Times paths in alternating rounds, so that slow changes of the machine affect all of them equally.
//!
//!     cargo bench -p tower-key-failover-benches --bench rounds -- layer
//!     cargo bench -p tower-key-failover-benches --bench rounds -- strategies
//!
//! Each line shows medians over the rounds, and in parentheses the quartiles of a ratio. A ratio compares
//! two paths in the same round.

#![allow(unreachable_pub)]

mod round;
mod table;

use test_support::paths::{self, Path, Requests};
use tower_key_failover::policy::Provider;

use crate::round::{Beside, times};

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .find(|arg| !arg.starts_with('-'))
    {
        Some("layer") => layer(),
        Some("strategies") => strategies(),
        // Cargo runs every bench when it is not told which. This one has nothing to say then.
        _ => {}
    }
}

/// What the layer adds, compared with what `tower::retry` adds.
fn layer() {
    const SHOWN: [&str; 9] = [
        "bare",
        "retry",
        "floor",
        "disabled",
        "one key",
        "first of 3",
        "first of 3, Anthropic",
        "retry, one refused",
        "one refused",
    ];
    for requests in Requests::ALL {
        let mut paths = paths::all(requests, Provider::anthropic(), Provider::openai());
        paths.retain(|path| SHOWN.contains(&path.name));
        for beside in [Beside::Nothing, Beside::TheSame] {
            println!("\n{}, {}\n", requests.name(), beside.name());
            table::added(&names(&paths), &times(&paths, beside));
        }
    }
}

/// What each way to choose a key costs, compared with keys in order.
fn strategies() {
    for len in [3, 10, 1000] {
        let paths = paths::selections(len);
        let alone = times(&paths, Beside::Nothing);
        let beside = times(&paths, Beside::TheSame);
        println!("\n{len} keys\n");
        table::strategies(&names(&paths), &alone, &beside);
    }
}

fn names(paths: &[Path]) -> Vec<&'static str> {
    paths.iter().map(|path| path.name).collect()
}
