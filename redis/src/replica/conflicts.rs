//! Marks of a replica that does not know yet what an operator did elsewhere.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, advance};
use tower_key_failover::pool::Reason;

use super::{Action, LocalMark, LocalState, Replica};
use crate::names::{Name, Names, Subject};
use crate::record::{Record, Told};

/// The server's clock when the test begins.
const NOW: u64 = 1_763_740_000_000;

fn names() -> Names {
    Names::new(&SecretString::from("0123456789abcdef"), "pool")
}

fn name() -> Name {
    names().name(Subject::Key("key"))
}

fn state(mark: LocalMark) -> LocalState {
    LocalState {
        generation: 0,
        acts: 0,
        mark,
        reason: Reason::RateLimited,
    }
}

/// An operator reinstated the key so long after the test began.
fn reinstated(after: Duration) -> Told {
    let epoch = NOW + after.as_millis() as u64;
    let record = Record {
        epoch,
        until: 0,
        at: epoch,
        reason: Reason::Operator,
    };
    Told {
        name: name(),
        sealed: None,
        record,
    }
}

/// A replica that marked its key so long after the test began, and is connected after a minute.
async fn marked(after: Duration) -> Replica {
    let mut replica = Replica::new(names());
    replica.set_limits([(name(), None)]);
    replica.observe(0, state(LocalMark::Open), [], Instant::now());
    advance(after).await;
    let cooldown = LocalMark::CoolingDown(Duration::from_secs(3_600));
    replica.observe(0, state(cooldown), [], Instant::now());
    advance(Duration::from_secs(60) - after).await;
    replica.set_clock(NOW + 60_000, Instant::now());
    replica
}

#[tokio::test(start_paused = true)]
async fn an_operators_act_ends_marks_that_were_made_before_it() {
    let mut replica = marked(Duration::from_secs(10)).await;
    let heard = replica.hear(reinstated(Duration::from_secs(30)), Instant::now());
    assert_eq!(heard, Some((0, vec![Action::Reinstate])));
    assert_eq!(replica.pending(Instant::now()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_was_made_well_after_an_operators_act_stays_and_is_shared() {
    let mut replica = marked(Duration::from_secs(40)).await;
    let act = reinstated(Duration::from_secs(30));
    let epoch = act.record.epoch;
    assert_eq!(replica.hear(act, Instant::now()), None);
    let due = replica.due(64, true, Instant::now());
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].epoch, due[0].kind), (epoch, "c"));
}

#[tokio::test(start_paused = true)]
async fn a_mark_within_five_seconds_of_an_operators_act_may_be_older_evidence() {
    let mut replica = marked(Duration::from_secs(34)).await;
    let heard = replica.hear(reinstated(Duration::from_secs(30)), Instant::now());
    assert_eq!(heard, Some((0, vec![Action::Reinstate])));
}

#[tokio::test(start_paused = true)]
async fn an_act_without_a_connection_gets_the_time_at_which_it_happened() {
    let mut replica = marked(Duration::from_secs(1)).await;
    replica.forget_clock();
    let mut disabled = state(LocalMark::Disabled);
    disabled.acts = 1;
    replica.observe(0, disabled, [], Instant::now());
    advance(Duration::from_secs(600)).await;
    replica.set_clock(NOW + 660_000, Instant::now());
    let due = replica.due(64, true, Instant::now());
    assert_eq!((due[0].epoch, due[0].kind), (NOW + 60_000, "d"));
    // Another operator acted in the meantime, and is the last one.
    let heard = replica.hear(reinstated(Duration::from_secs(300)), Instant::now());
    assert_eq!(heard, Some((0, vec![Action::Reinstate])));
}
