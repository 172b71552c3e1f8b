//! Which key may be used, and until when.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::time::advance;
use tower_key_failover::pool::{
    BuildError, Exhausted, ExhaustedKind, Key, KeyPool, KeyState, Marked,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn pool(keys: usize) -> KeyPool {
    KeyPool::new((0..keys).map(|key| format!("key-{key}"))).unwrap()
}

fn key(pool: &KeyPool, index: usize) -> Key {
    pool.keys().nth(index).unwrap()
}

fn cases() -> Value {
    test_support::conformance::unit_cases()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

#[test]
fn construction_follows_the_conformance_cases() {
    for case in list(&cases()["new_pool"]) {
        let keys = list(&case[1]).iter().map(|key| key.as_str().unwrap());
        let error = KeyPool::new(keys).err();
        match case[2].as_str() {
            None => assert_eq!(error, None),
            Some("ErrNoKeys") => assert_eq!(error, Some(BuildError::NoKeys)),
            Some("ErrDuplicateKey") => {
                assert!(matches!(
                    error,
                    Some(BuildError::DuplicateKey {
                        first: 0,
                        position: 2,
                        ..
                    })
                ));
            }
            Some(other) => panic!("unknown error {other}"),
        }
    }
}

#[test]
fn a_key_that_cannot_be_sent_is_rejected_with_its_position_and_the_reason() {
    let empty = "the key at position 1 is empty";
    let padded = "the key at position 1 has white space around it: trim keys that come from a file or \
                  a variable";
    let control = "the key at position 1 contains a control character, which no header can carry";
    for (bad, message) in [
        ("", empty),
        (" ", empty),
        (" padded", padded),
        ("padded\t", padded),
        ("padded\u{a0}", padded),
        ("line\n", padded),
        ("line\nfeed", control),
        ("nul\0", control),
        ("del\u{7f}", control),
    ] {
        let error = KeyPool::new(["good", bad]).unwrap_err();
        assert!(
            matches!(error, BuildError::InvalidKey { position: 1, .. }),
            "{bad:?}"
        );
        assert_eq!(error.to_string(), message, "{bad:?}");
    }
}

#[test]
fn two_keys_with_the_same_label_are_rejected_when_the_pool_is_built() {
    let pool = KeyPool::builder()
        .key("k0")
        .labeled_key("team", "k1")
        .labeled_key("team", "k2");
    assert_eq!(
        pool.build().unwrap_err().to_string(),
        "the key at position 2 has the same label as the one at position 1: rename one of them"
    );
}

#[test]
fn an_error_names_positions_and_no_key() {
    let error = KeyPool::new(["sk-canary", "sk-other", "sk-canary"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key at position 2 repeats the one at position 0: remove one of them"
    );
    assert!(!format!("{error:?}").contains("canary"));
}

#[test]
fn a_pool_and_its_handles_print_hints_alone() {
    let pool = KeyPool::builder()
        .name("p")
        .labeled_key("team-a", "sk-ant-api03-canary-canary")
        .build()
        .unwrap();
    let mut walker = pool.walker();
    let key = walker.next_key().unwrap();
    let (header, bearer) = (key.header_value(), key.bearer());
    assert!(header.is_sensitive() && bearer.is_sensitive());
    let builder = KeyPool::builder().key("sk-ant-api03-canary-canary");
    let printed =
        format!("{pool:?} {walker:?} {key:?} {header:?} {bearer:?} {builder:?} {pool:#?}");
    assert!(printed.contains("sk-a...nary") && printed.contains("team-a"));
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn hints_follow_the_conformance_cases() {
    for case in list(&cases()["mask"]) {
        let text = case[0].as_str().unwrap();
        if !text.is_empty() {
            let pool = KeyPool::new([text]).unwrap();
            assert_eq!(key(&pool, 0).hint(), case[1].as_str().unwrap());
        }
    }
}

#[test]
fn header_values_are_the_key_and_share_their_bytes() {
    let pool = KeyPool::new(["sk-secret"]).unwrap();
    let key = key(&pool, 0);
    assert_eq!(key.expose_secret(), "sk-secret");
    assert_eq!(key.header_value(), "sk-secret");
    assert_eq!(key.bearer(), "Bearer sk-secret");
    assert_eq!(
        key.header_value().as_bytes().as_ptr(),
        key.header_value().as_bytes().as_ptr()
    );
}

#[tokio::test(start_paused = true)]
async fn walkers_follow_the_conformance_cases() {
    for case in list(&cases()["walker"]) {
        let name = case["name"].as_str().unwrap();
        let pool = pool(case["keys"].as_u64().unwrap() as usize);
        for mark in list(&case["marks"]) {
            let key = key(&pool, mark[0].as_u64().unwrap() as usize);
            match (mark[1].as_str(), mark[1].as_i64()) {
                (Some("perm" | "401"), _) => key.mark_permanent(),
                (Some("429"), _) => key.mark_temporary(None),
                // No duration is negative: a wait that is none is no wait.
                (_, Some(seconds)) => {
                    key.mark_temporary(u64::try_from(seconds).ok().map(Duration::from_secs))
                }
                other => panic!("{name}: unknown mark {other:?}"),
            };
        }
        advance(Duration::from_secs(case["advance_s"].as_u64().unwrap())).await;

        let mut walker = pool.walker();
        for index in list(&case["yields"]) {
            let index = index.as_u64().unwrap() as usize;
            assert_eq!(walker.next_key().unwrap().index(), index, "{name}");
        }
        let kind = match case["end"][0].as_str().unwrap() {
            "rate_limited" => ExhaustedKind::RateLimited,
            "permanent" => ExhaustedKind::Permanent,
            other => panic!("{name}: unknown end {other}"),
        };
        let seconds = case["end"][1].as_u64().unwrap();
        let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds));
        assert_eq!(
            walker.next_key().unwrap_err(),
            Exhausted { kind, retry_after },
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn marks_follow_the_conformance_cases() {
    let cases = cases();
    for case in list(&cases["mark_temporary"]) {
        let pool = pool(1);
        let key = key(&pool, 0);
        for prior in list(&case["prior"]) {
            match prior.as_u64() {
                Some(seconds) => key.mark_temporary(Some(Duration::from_secs(seconds))),
                None => key.mark_permanent(),
            };
        }
        let marked =
            key.mark_temporary(Some(Duration::from_secs(case["mark_s"].as_u64().unwrap())));
        assert_eq!(
            marked == Marked::Transitioned,
            case["transition"].as_bool().unwrap(),
            "{case}"
        );
        assert_eq!(name(key.state()), case["state"].as_str().unwrap(), "{case}");
    }
    for case in list(&cases["mark_permanent"]) {
        let pool = pool(1);
        let key = key(&pool, 0);
        match case["from"].as_str().unwrap() {
            "valid" => {}
            "temporary" => drop(key.mark_temporary(None)),
            _ => drop(key.mark_permanent()),
        }
        let marked = key.mark_permanent();
        assert_eq!(
            marked == Marked::Transitioned,
            case["transition"].as_bool().unwrap(),
            "{case}"
        );
        assert_eq!(key.state(), KeyState::Permanent);
    }
}

fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Valid => "valid",
        KeyState::Temporary { .. } => "temporary",
        _ => "permanent",
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_valid_at_its_deadline_and_not_before() {
    let pool = pool(1);
    key(&pool, 0).mark_temporary(Some(5 * SECOND));
    advance(5 * SECOND - Duration::from_millis(1)).await;
    let retry_after = Duration::from_millis(1);
    assert_eq!(pool.states(), [KeyState::Temporary { retry_after }]);
    advance(Duration::from_millis(1)).await;
    assert_eq!(pool.states(), [KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_later_deadline_extends_and_an_earlier_or_equal_one_changes_nothing() {
    let pool = pool(1);
    let key = key(&pool, 0);
    assert_eq!(key.mark_temporary(Some(10 * SECOND)), Marked::Transitioned);
    assert_eq!(key.mark_temporary(Some(10 * SECOND)), Marked::Unchanged);
    assert_eq!(key.mark_temporary(Some(9 * SECOND)), Marked::Unchanged);
    assert_eq!(key.mark_temporary(Some(11 * SECOND)), Marked::Extended);
    advance(11 * SECOND).await;
    assert_eq!(key.mark_temporary(Some(SECOND)), Marked::Transitioned);
}

#[tokio::test(start_paused = true)]
async fn no_wait_and_a_zero_wait_mean_the_default_cooldown() {
    for wait in [None, Some(Duration::ZERO)] {
        let pool = pool(1);
        key(&pool, 0).mark_temporary(wait);
        assert_eq!(
            pool.states(),
            [KeyState::Temporary {
                retry_after: MINUTE
            }]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn cooldowns_are_set_on_the_builder_and_any_wait_is_cut_to_the_maximum() {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .key("k2")
        .default_cooldown(3 * SECOND)
        .max_cooldown(10 * SECOND)
        .build()
        .unwrap();
    let out = |seconds: u64| KeyState::Temporary {
        retry_after: Duration::from_secs(seconds),
    };
    key(&pool, 0).mark_temporary(None);
    key(&pool, 1).mark_temporary(Some(11 * SECOND));
    key(&pool, 2).mark_temporary(Some(Duration::MAX));
    assert_eq!(pool.states(), [out(3), out(10), out(10)]);
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_is_a_cooldown_and_not_permanent() {
    let pool = KeyPool::builder()
        .key("k0")
        .max_cooldown(Duration::MAX)
        .build()
        .unwrap();
    key(&pool, 0).mark_temporary(Some(Duration::MAX));
    assert_eq!(name(pool.states()[0]), "temporary");
    assert_eq!(key(&pool, 0).mark_permanent(), Marked::Transitioned);
}

#[tokio::test(start_paused = true)]
async fn a_walker_never_goes_back_and_sees_new_marks_at_once() {
    let pool = pool(3);
    let (mut one, mut other) = (pool.walker(), pool.walker());
    assert_eq!(one.next_key().unwrap().index(), 0);
    let second = other.next_key().and_then(|_| other.next_key()).unwrap();
    assert_eq!(second.mark_temporary(Some(SECOND)), Marked::Transitioned);
    assert_eq!(one.next_key().unwrap().index(), 2);
    advance(SECOND).await;
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
    for _ in 0..2 {
        let exhausted = one.next_key().unwrap_err();
        assert_eq!(
            (exhausted.kind, exhausted.retry_after),
            (ExhaustedKind::RateLimited, None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn exhaustion_names_the_soonest_recovery_and_ignores_permanent_marks() {
    let pool = pool(3);
    key(&pool, 0).mark_permanent();
    key(&pool, 1).mark_temporary(Some(30 * SECOND));
    key(&pool, 2).mark_temporary(Some(10 * SECOND));
    advance(Duration::from_millis(3_500)).await;
    let exhausted = pool.walker().next_key().unwrap_err();
    assert_eq!(exhausted.kind, ExhaustedKind::RateLimited);
    assert_eq!(exhausted.retry_after, Some(Duration::from_millis(6_500)));
}

#[test]
fn exhaustion_has_a_plain_message() {
    let text = |kind, retry_after| Exhausted { kind, retry_after }.to_string();
    assert_eq!(
        text(ExhaustedKind::RateLimited, Some(3 * SECOND)),
        "all configured keys are rate-limited (retry after 3s)"
    );
    assert_eq!(
        text(ExhaustedKind::RateLimited, None),
        "all configured keys are in use or rate-limited"
    );
    assert_eq!(
        text(ExhaustedKind::Permanent, None),
        "all configured keys failed authentication"
    );
    assert_eq!(
        text(ExhaustedKind::Disabled, None),
        "all configured keys are disabled"
    );
}

#[test]
fn the_longest_of_concurrent_marks_wins() {
    let pool = Arc::new(pool(1));
    let start = Arc::new(Barrier::new(10));
    let marked: Vec<Marked> = thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|thread| {
                let (key, start) = (key(&pool, 0), Arc::clone(&start));
                scope.spawn(move || {
                    start.wait();
                    key.mark_temporary(Some(if thread % 2 == 0 { MINUTE } else { 10 * SECOND }))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let transitions = marked
        .iter()
        .filter(|marked| **marked == Marked::Transitioned);
    assert_eq!(transitions.count(), 1);
    let KeyState::Temporary { retry_after } = pool.states()[0] else {
        panic!("{:?}", pool.states());
    };
    assert!(retry_after > 50 * SECOND && retry_after <= MINUTE);
}

#[test]
fn a_pool_works_outside_of_a_runtime() {
    let pool = pool(2);
    key(&pool, 0).mark_temporary(None);
    assert_eq!(pool.walker().next_key().unwrap().index(), 1);
}

#[test]
fn a_mark_is_visible_to_all_threads() {
    let pool = pool(21);
    // More threads than there are copies of the list.
    for already in 0..20 {
        let pool = &pool;
        let marked = thread::scope(|scope| {
            let marking = || {
                let key = pool.walker().next_key().unwrap();
                (key.index(), key.mark_permanent())
            };
            scope.spawn(marking).join().unwrap()
        });
        assert_eq!(marked, (already, Marked::Transitioned));
    }
    assert_eq!(key(&pool, 20).state(), KeyState::Valid);
}
