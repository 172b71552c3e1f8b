//! A pool's state over restarts.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use test_support::mock::Body;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::pool::{Key, KeyPool, KeyPoolBuilder, KeyState, Marked, Reason, SavedPool};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const KEYS: [&str; 4] = [
    "sk-first-0123456789ab",
    "sk-second-0123456789c",
    "sk-third-0123456789cd",
    "sk-fourth-0123456789e",
];

fn builder() -> KeyPoolBuilder {
    KEYS.into_iter()
        .fold(KeyPool::builder(), KeyPoolBuilder::key)
}

fn pool() -> KeyPool {
    builder().build().unwrap()
}

fn key(pool: &KeyPool, at: usize) -> Key {
    pool.keys().nth(at).unwrap()
}

fn save(pool: &KeyPool) -> Value {
    serde_json::to_value(pool.save()).unwrap()
}

fn restore(pool: &KeyPool, saved: &Value) -> usize {
    pool.restore(&serde_json::from_value(saved.clone()).unwrap())
}

fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_millis() as u64
}

/// The wall clock is no test's own: it may go on while the test runs.
#[track_caller]
fn assert_about(state: KeyState, wait: Duration) {
    let KeyState::Temporary { retry_after } = state else {
        panic!("{state:?}");
    };
    assert!(
        retry_after <= wait + Duration::from_millis(2),
        "{retry_after:?}"
    );
    assert!(retry_after + MINUTE / 2 >= wait, "{retry_after:?}");
}

/// The key that a request comes to. It succeeds there.
async fn first_used(pool: &Arc<KeyPool>) -> String {
    let provider = service_fn(|request| async move {
        let used = test_support::mock::key_of(&request).to_owned();
        Ok::<_, Infallible>(Response::new(Body::from(used)))
    });
    let response = test_support::mock::layer(pool)
        .layer(provider)
        .oneshot(test_support::mock::request(""))
        .await;
    let used = response.unwrap().into_body().collect().await.unwrap();
    String::from_utf8(used.to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn restored_marks_apply_to_keys_at_new_positions() {
    let before = pool();
    key(&before, 0).mark_temporary(Some(10 * MINUTE));
    key(&before, 1).mark_permanent();
    key(&before, 2).mark_temporary(Some(5 * SECOND));
    advance(6 * SECOND).await;
    let saved = save(&before);

    let after =
        KeyPool::new(["sk-another-0123456789", KEYS[3], KEYS[2], KEYS[1], KEYS[0]]).unwrap();
    assert_eq!(restore(&after, &saved), 2);
    let states = after.states();
    assert_eq!(states[..3], [KeyState::Valid; 3]);
    assert_eq!(states[3], KeyState::Permanent);
    assert_about(states[4], 10 * MINUTE - 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn restored_state_includes_reasons_and_disabled_keys() {
    let before = pool();
    before.disable(1).unwrap();
    key(&before, 2).mark_permanent();
    let saved = save(&before);
    let after = pool();
    assert_eq!(restore(&after, &saved), 2);
    let reasons: Vec<_> = after.snapshot().keys.iter().map(|key| key.reason).collect();
    assert_eq!(
        reasons,
        [None, Some(Reason::Operator), Some(Reason::Other), None]
    );
}

#[tokio::test(start_paused = true)]
async fn a_restored_key_is_probed_and_a_disabled_key_never() {
    let before = pool();
    before.disable(0).unwrap();
    key(&before, 1).mark_permanent();
    // Through two restarts.
    let between = builder()
        .probe_after(MINUTE)
        .without_probe_jitter()
        .build()
        .unwrap();
    assert_eq!(restore(&between, &save(&before)), 2);
    let after = builder()
        .probe_after(MINUTE)
        .without_probe_jitter()
        .build()
        .unwrap();
    assert_eq!(restore(&after, &save(&between)), 2);

    let after = Arc::new(after);
    for (passed, used) in [
        (59 * SECOND, &KEYS[2]),
        (2 * SECOND, &KEYS[1]),
        (60 * MINUTE, &KEYS[1]),
    ] {
        advance(passed).await;
        assert_eq!(first_used(&after).await, *used);
    }
    assert_eq!(after.states()[..2], [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_restored_by_its_name() {
    let grouped = |first: &'static str| {
        let keys = KeyPool::builder()
            .key(first)
            .group("acme")
            .key(KEYS[1])
            .group("acme");
        keys.key(KEYS[2])
            .group("other")
            .key(KEYS[3])
            .build()
            .unwrap()
    };
    let before = grouped(KEYS[0]);
    key(&before, 0).mark_temporary(Some(10 * MINUTE));
    let saved = save(&before);

    // The key that was refused is gone, but not its group.
    let after = grouped("sk-another-0123456789");
    assert_eq!(restore(&after, &saved), 0);
    let states = after.states();
    assert_about(states[0], 10 * MINUTE);
    assert_about(states[1], 10 * MINUTE);
    assert_eq!(states[2..], [KeyState::Valid; 2]);

    // The key that was refused has no group any more.
    let after = pool();
    assert_eq!(restore(&after, &saved), 1);
    let states = after.states();
    assert_about(states[0], 10 * MINUTE);
    assert_eq!(states[1..], [KeyState::Valid; 3]);
}

#[tokio::test(start_paused = true)]
async fn restoring_never_shortens_or_removes_a_mark() {
    let before = pool();
    for at in 0..3 {
        key(&before, at).mark_temporary(Some(MINUTE));
    }
    let saved = save(&before);

    let after = pool();
    key(&after, 0).mark_temporary(Some(60 * MINUTE));
    key(&after, 1).mark_permanent();
    key(&after, 2).mark_temporary(Some(SECOND));
    key(&after, 3).mark_temporary(Some(SECOND));
    for _ in 0..2 {
        assert_eq!(restore(&after, &saved), 3);
        let states = after.states();
        assert_eq!(
            states[0],
            KeyState::Temporary {
                retry_after: 60 * MINUTE
            }
        );
        assert_eq!(states[1], KeyState::Permanent);
        assert_about(states[2], MINUTE);
        assert_eq!(
            states[3],
            KeyState::Temporary {
                retry_after: SECOND
            }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_of_an_attempt_that_began_before_a_restore_counts() {
    let before = pool();
    key(&before, 0).mark_temporary(Some(MINUTE));
    let saved = save(&before);
    let after = pool();
    let early = key(&after, 0);
    restore(&after, &saved);
    assert_eq!(early.mark_temporary(Some(60 * MINUTE)), Marked::Extended);
}

#[tokio::test(start_paused = true)]
async fn restored_deadlines_are_wall_clock_times_and_bad_ones_do_no_harm() {
    let before = pool();
    key(&before, 0).mark_temporary(Some(MINUTE));
    let mut saved = save(&before);
    let until = saved["keys"][0]["state"]["until"].as_u64().unwrap();
    assert!(until.abs_diff(unix_millis() + 60_000) < 30_000);

    for past in [0, 1, unix_millis() - 1] {
        saved["keys"][0]["state"]["until"] = past.into();
        let after = pool();
        assert_eq!(restore(&after, &saved), 1);
        assert_eq!(after.states(), [KeyState::Valid; 4]);
    }
    for absurd in [unix_millis() + 7 * 24 * 3_600_000, u64::MAX] {
        saved["keys"][0]["state"]["until"] = absurd.into();
        let after = builder().max_cooldown(2 * MINUTE).build().unwrap();
        assert_eq!(restore(&after, &saved), 1);
        assert_eq!(
            after.states()[0],
            KeyState::Temporary {
                retry_after: 2 * MINUTE
            }
        );
    }
}

#[test]
fn damaged_and_newer_files_are_errors() {
    let before = pool();
    before.disable(0).unwrap();
    let (saved, file) = (
        save(&before),
        serde_json::to_string(&before.save()).unwrap(),
    );
    for end in 0..file.len() {
        assert!(
            serde_json::from_str::<SavedPool>(&file[..end]).is_err(),
            "{end}"
        );
    }
    for (at, bad) in [
        ("/version", json!(2)),
        ("/version", json!("1")),
        ("/salt", json!("12")),
        ("/salt", json!("+0000000000000000000000000000001")),
        (
            "/keys/0/fingerprint",
            json!("zz000000000000000000000000000000"),
        ),
        ("/keys/0/fingerprint", json!(null)),
        ("/keys/0/state", json!("dead")),
        ("/keys/0/state", json!({ "until": -1 })),
        ("/keys", json!({})),
    ] {
        let mut damaged = saved.clone();
        *damaged.pointer_mut(at).unwrap() = bad;
        assert!(
            serde_json::from_value::<SavedPool>(damaged.clone()).is_err(),
            "{damaged}"
        );
    }
    let mut unknown = saved;
    unknown["keys"][0]["reason"] = json!("a reason of later versions");
    assert_eq!(restore(&pool(), &unknown), 1);
}

#[test]
fn saved_state_keeps_its_format() {
    let salt: Vec<u8> = (0..16).collect();
    let fingerprint = Sha256::digest([&salt[..], KEYS[1].as_bytes()].concat());
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let saved = json!({
        "version": 1,
        "salt": hex(&salt),
        "keys": [{
            "fingerprint": hex(&fingerprint[..16]),
            "state": "permanent",
            "reason": "unauthorized",
        }],
        "groups": [{ "name": "acme", "state": { "until": u64::MAX }, "reason": "rate_limited" }],
    });
    let pool = builder().group("acme").build().unwrap();
    assert_eq!(restore(&pool, &saved), 1);
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.keys[1].state, KeyState::Permanent);
    assert_eq!(snapshot.keys[1].reason, Some(Reason::Unauthorized));
    assert_eq!(snapshot.keys[3].reason, Some(Reason::RateLimited));
}

#[test]
fn no_part_of_a_key_is_saved_and_no_two_files_can_be_matched() {
    let pool = pool();
    for at in 0..4 {
        pool.disable(at).unwrap();
    }
    let (one, other) = (save(&pool), save(&pool));
    let text = format!("{one} {:?}", pool.save());
    for part in ["sk-", "first", "0123", "89ab"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
    assert_ne!(one["salt"], other["salt"]);
    for at in 0..4 {
        assert_ne!(
            one["keys"][at]["fingerprint"],
            other["keys"][at]["fingerprint"]
        );
    }
    assert_eq!(
        format!("{:?}", pool.save()),
        "SavedPool { keys: 4, groups: 0, .. }"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_saved_twice_gets_the_later_mark() {
    let before = pool();
    key(&before, 0).mark_permanent();
    let mut saved = save(&before);
    let keys = saved["keys"].as_array_mut().unwrap();
    let mut again = keys[0].clone();
    again["state"] = json!({ "until": unix_millis() + 60_000 });
    keys.insert(0, again);
    let after = pool();
    assert_eq!(restore(&after, &saved), 1);
    assert_eq!(after.states()[0], KeyState::Permanent);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_at_once_when_their_key_is_restored_as_permanent() {
    let before = pool();
    key(&before, 0).mark_permanent();
    let saved = save(&before);
    let after = Arc::new(KeyPool::new([KEYS[0]]).unwrap());
    key(&after, 0).mark_temporary(Some(SECOND));
    let provider =
        service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from(String::new()))) });
    let service = test_support::mock::layer(&after)
        .wait_for_key(MINUTE)
        .layer(provider);
    let mut waiting = tokio_test::task::spawn(service.oneshot(test_support::mock::request("")));
    assert!(waiting.poll().is_pending());
    assert_eq!(restore(&after, &saved), 1);
    assert!(waiting.is_woken());
    let Poll::Ready(Ok(response)) = waiting.poll() else {
        panic!("it waits");
    };
    assert_eq!(response.status(), 502);
}
