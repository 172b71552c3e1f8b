//! Medians and quartiles of rounds, as tables.

/// What each path adds to the first one, compared with what the second one adds.
pub fn added(names: &[&str], times: &[Vec<f64>]) {
    println!("| path | ns | ns beyond bare | x what tower::retry adds |\n|---|---:|---:|---|");
    let beyond = |at: usize| minus(&times[at], &times[0]);
    let peer = |name: &str| {
        let retry = format!("retry, {name}");
        names.iter().position(|it| *it == retry).unwrap_or(1)
    };
    for (at, name) in names.iter().enumerate() {
        let ratio = ratio(&beyond(at), &beyond(peer(name)));
        let (ns, more) = (median(&times[at]), median(&beyond(at)));
        println!("| {name} | {ns:.0} | {more:.0} | {ratio} |");
    }
}

/// What each strategy costs, compared with the first one, on one and on two threads.
pub fn strategies(names: &[&str], alone: &[Vec<f64>], beside: &[Vec<f64>]) {
    println!(
        "| strategy | one thread, ns | x in order | two threads, ns | x in order | two threads x one |"
    );
    println!("|---|---:|---|---:|---|---|");
    for (at, name) in names.iter().enumerate() {
        let (one, two) = (median(&alone[at]), median(&beside[at]));
        let (to_first, to_first_beside) =
            (ratio(&alone[at], &alone[0]), ratio(&beside[at], &beside[0]));
        let to_alone = ratio(&beside[at], &alone[at]);
        println!("| {name} | {one:.0} | {to_first} | {two:.0} | {to_first_beside} | {to_alone} |");
    }
}

fn minus(times: &[f64], others: &[f64]) -> Vec<f64> {
    times
        .iter()
        .zip(others)
        .map(|(time, other)| time - other)
        .collect()
}

/// The median ratio of the rounds, and its quartiles.
fn ratio(times: &[f64], others: &[f64]) -> String {
    let ratios: Vec<_> = times
        .iter()
        .zip(others)
        .map(|(time, other)| time / other)
        .collect();
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share));
    format!("{middle:.2} ({low:.2} to {high:.2})")
}

fn median(times: &[f64]) -> f64 {
    quantile(times, 0.5)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
