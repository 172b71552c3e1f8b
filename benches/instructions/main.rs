//! Sends requests over one path, for callgrind to count: see `run` beside this file.
//!
//! `instructions list` names the paths, `instructions <path> <times>` walks one.

use test_support::paths::{self, Path, Requests, Sending};
use tower_key_failover::policy::Provider;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let kinds = Requests::ALL.into_iter().map(|kind| {
        let paths = paths::all(kind, Provider::anthropic(), Provider::openai());
        (kind.name().to_owned(), paths)
    });
    let lengths = [3, 10, 1000].into_iter();
    let selections = lengths.map(|len| (format!("of {len}"), paths::selections(len)));
    let paths: Vec<_> = kinds.chain(selections).collect();
    let paths = paths.iter().flat_map(|(kind, paths)| {
        paths
            .iter()
            .map(move |path| (format!("{kind}: {}", path.name), path))
    });
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => paths.for_each(|(name, _)| println!("{name}")),
        [wanted, times] => {
            let (_, path) = paths
                .into_iter()
                .find(|(name, _)| name == wanted)
                .expect("a path's name");
            walk(path, times.parse().expect("a number"));
        }
        // Cargo runs every bench when it is not told which; this one has nothing to say then.
        _ => {}
    }
}

fn walk(path: &Path, times: usize) {
    // What is done once, the first time, is no cost of a request.
    path.prepare().send();
    for _ in 0..times {
        measured(&mut *path.prepare());
    }
}

/// What is counted.
#[inline(never)]
fn measured(request: &mut dyn Sending) {
    request.send();
}
