use std::time::Duration;

use test_support::harness::{SECOND, key};
use tower_key_failover::pool::{KeyPool, Marked};

use super::provider::{Piece, Reply, SUCCESS};
use super::{Company, Script, sweep, sweep_with};

const UPLOAD: &[Piece] = &[Piece::Data("a slow "), Piece::Data("upload")];

const RATE_LIMITED: Reply = Reply {
    status: 429,
    header: ("retry-after", "1"),
    body: &[Piece::Data("too "), Piece::Data("many")],
};

fn script(pool: KeyPool) -> Script {
    Script {
        pool,
        before: |_| {},
        ago: Duration::ZERO,
        wait: None,
        upload: UPLOAD,
        replies: &[],
        next_within: Some(SECOND),
        returns: false,
    }
}

fn assert_marks(marked: Marked) {
    assert_eq!(marked, Marked::Transitioned);
}

fn one_key() -> Script {
    // A place in the queue that is not given back leaves no room for the next request.
    script(KeyPool::builder().key("k0").max_waiters(1).build().unwrap())
}

fn two_keys() -> Script {
    script(KeyPool::new(["k0", "k1"]).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_during_its_only_attempt_holds_nothing() {
    sweep(one_key).await;
    sweep(two_keys).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_between_its_attempts_holds_nothing() {
    sweep(|| Script {
        replies: &[RATE_LIMITED, SUCCESS],
        ..two_keys()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_a_refusal_is_read_holds_nothing() {
    const REFUSED: Reply = Reply {
        status: 403,
        header: ("x-say", "inspect"),
        body: &[Piece::Data("we "), Piece::Data("refuse"), Piece::Data(".")],
    };
    sweep(|| Script {
        replies: &[REFUSED, SUCCESS],
        ..two_keys()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_before_its_exhausted_response_is_read_holds_nothing() {
    sweep(|| Script {
        replies: &[RATE_LIMITED],
        next_within: None,
        ..one_key()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_its_upload_fails_holds_nothing() {
    sweep(|| Script {
        upload: &[Piece::Data("a"), Piece::Data("b"), Piece::Failure],
        ..two_keys()
    })
    .await;
}

/// The key has been cooling down for half of its second.
fn cooling_down() -> Script {
    Script {
        before: |pool| assert_marks(key(pool, 0).mark_temporary(Some(SECOND))),
        ago: SECOND / 2,
        wait: Some(5 * SECOND),
        returns: true,
        ..one_key()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_waits_holds_nothing() {
    sweep(cooling_down).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_waits_for_the_key_that_refused_it_holds_nothing() {
    sweep(|| Script {
        replies: &[RATE_LIMITED, SUCCESS],
        wait: Some(5 * SECOND),
        next_within: Some(2 * SECOND),
        ..one_key()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_does_not_keep_the_others_waiting() {
    for company in [Company::Before, Company::After] {
        sweep_with(
            || Script {
                pool: KeyPool::new(["k0"]).unwrap(),
                ..cooling_down()
            },
            company,
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_uses_a_reopening_key_gives_its_place_back() {
    sweep(|| Script {
        ago: SECOND,
        // Attempts count as successes after a quarter of a second.
        wait: Some(SECOND / 10),
        next_within: Some(SECOND / 5),
        ..cooling_down()
    })
    .await;
}

/// The first key is permanently marked, and its probe is due.
fn probe() -> Script {
    Script {
        before: |pool| assert_marks(key(pool, 0).mark_permanent()),
        ago: 91 * SECOND,
        returns: true,
        ..two_keys()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_during_a_probe_leaves_the_probe_to_the_next_request() {
    sweep(probe).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_during_a_probe_of_the_pool_leaves_it_to_the_next_request() {
    sweep(|| Script {
        ago: 2 * SECOND,
        before: |pool| assert_marks(key(pool, 0).mark_permanent()),
        ..one_key()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_before_it_proves_a_success_leaves_the_probe_to_the_next_request() {
    sweep(|| Script {
        replies: &[Reply {
            status: 200,
            header: ("x-said", "trailers"),
            body: &[Piece::Data("some"), Piece::Data("thing"), Piece::Trailers],
        }],
        ..probe()
    })
    .await;
    sweep(|| Script {
        replies: &[Reply {
            status: 200,
            header: ("x-said", "first event"),
            body: &[
                Piece::Data("data: "),
                Piece::Data("good\n\n"),
                Piece::Data("more"),
            ],
        }],
        ..probe()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_does_not_count_as_in_flight() {
    fn capped() -> KeyPool {
        let keys = KeyPool::builder().key("k0").max_in_flight(1);
        keys.key("k1").max_in_flight(1).build().unwrap()
    }
    sweep(|| Script {
        pool: capped(),
        ..one_key()
    })
    .await;
    sweep(|| Script {
        pool: capped(),
        replies: &[RATE_LIMITED, SUCCESS],
        // The cooldown of the first key can still be under way.
        wait: Some(2 * SECOND),
        next_within: Some(2 * SECOND),
        ..one_key()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_waits_for_a_place_leaves_it_to_the_next_one() {
    fn capped() -> Script {
        let pool = KeyPool::builder().key("k0").group("org").max_in_flight(1);
        let pool = pool.key("k1").group("org").group_max_in_flight("org", 1);
        Script {
            pool: pool.build().unwrap(),
            wait: Some(5 * SECOND),
            ..one_key()
        }
    }
    for company in [Company::Before, Company::After] {
        sweep_with(capped, company).await;
    }
}
