//! The real pool and layer against simulated providers, with paused time. The figures of a model of the
//! pool stand next to those that are measured.
//!
//! `cargo bench -p tower-key-failover-benches --bench simulation -- all` prints all tables; the name of a table
//! instead of `all` prints that one. With `--seeds N`, each figure is the mean over so many seeds. With `--check`, a
//! figure fails that is outside of the range that the model leads to expect.

#![allow(unreachable_pub)]

mod arrivals;
mod cooldowns;
mod limiters;
mod model;
mod parallel;
mod provider;
mod random;
mod reopening;
mod run;
mod scenarios;
mod selection;
mod table;

use table::{Options, Table};

type Measure = fn(&Options) -> Table;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = Options::of(&args);
    let tables: [(_, Measure); 3] = [
        ("reopening", reopening::table),
        ("cooldowns", cooldowns::table),
        ("selection", selection::table),
    ];
    let mut is_expected = true;
    // Cargo runs every bench when it is not told which; this one has nothing to say then.
    for (name, table) in tables {
        if args.iter().any(|arg| arg == name || arg == "all") {
            let table = table(&options);
            table.print();
            is_expected &= table.is_expected();
        }
    }
    if options.checks && !is_expected {
        std::process::exit(1);
    }
}
