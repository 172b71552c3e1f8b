//! How often each path of the benches allocates, beside what people would use instead.

use test_support::paths::{Requests, all};
use tower_key_failover::policy::Provider;

/// A path, and its allocations: of a request with shared values and room in its header map, and of
/// one whose every value and name has its own.
const COUNTS: &[(&str, u64, u64)] = &[
    ("bare", 0, 0),
    ("retry", 2, 19),
    ("floor", 4, 23),
    ("disabled", 0, 0),
    ("byok", 0, 0),
    ("one key", 0, 2),
    ("first of 3", 2, 4),
    ("first of 10", 2, 4),
    ("first of 1000", 2, 4),
    ("first of 3, replicas", 2, 4),
    ("last of 10", 0, 2),
    ("last of 1000", 0, 2),
    ("last of 1000, no probes", 0, 2),
    ("one key, extensions", 6, 8),
    ("first of 3, extensions", 8, 10),
    ("one key, Anthropic", 0, 2),
    ("first of 3, Anthropic", 2, 4),
    ("first of 3, OpenAi", 2, 4),
    ("retry, one refused", 4, 21),
    ("one refused", 14, 16),
    ("retry, two refused", 6, 23),
    ("two refused", 21, 23),
];

#[test]
fn each_path_allocates_as_often_as_the_table_says() {
    let [shared, fresh] = Requests::ALL.map(|requests| {
        let counts = all(requests, Provider::anthropic(), Provider::openai())
            .into_iter()
            .map(|path| {
                // What is allocated once, the first time, is no cost of a request.
                path.prepare().send();
                let mut request = path.prepare();
                let measured = allocation_counter::measure(|| request.send());
                (path.name, measured.count_total)
            });
        counts.collect::<Vec<_>>()
    });
    // The report of a refusal is allocated.
    let is_told = cfg!(any(feature = "metrics", feature = "tracing"));
    let is_counted = |(name, ..): &(&str, u64, u64)| !(is_told && name.ends_with("refused"));
    let counts: Vec<_> = std::iter::zip(shared, fresh)
        .map(|((name, shared), (_, fresh))| (name, shared, fresh))
        .filter(is_counted)
        .collect();
    let expected: Vec<_> = COUNTS.iter().copied().filter(is_counted).collect();
    assert_eq!(counts, expected, "{counts:#?}");
}
