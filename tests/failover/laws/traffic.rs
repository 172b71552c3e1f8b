//! Random traffic.

use std::fmt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::provider::{Health, Kind, Odd};
use super::world::{Outcome, World};

/// Something that happens, some time after the previous event.
#[derive(Clone)]
pub struct Event {
    pub after: Duration,
    pub what: What,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On one line also in a failure report.
        write!(f, "after {:?}: {:?}", self.after, self.what)
    }
}

#[derive(Clone, Debug)]
pub enum What {
    Send {
        kind: Kind,
        latency: Duration,
        /// When the caller gives up.
        patience: Option<Duration>,
    },
    /// The same keys in another order.
    Reload,
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

pub fn odd() -> impl Strategy<Value = Odd> {
    proptest::sample::select(&Odd::ALL[..])
}

pub fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        12 => Just(Kind::Good),
        6 => odd().prop_map(Kind::Odd),
        1 => (0..8_usize).prop_map(Kind::Owned),
        1 => Just(Kind::ServerError),
    ]
}

/// Between one and `most` keys, of which one at least is good, and two at most are dead.
pub fn keys(most: usize) -> impl Strategy<Value = Vec<Health>> {
    let dead = prop_oneof![Just(Health::Revoked), Just(Health::Forbidden)];
    (vec(dead, 0..=2), 1..=most - 2).prop_flat_map(|(dead, good)| {
        let mut keys = dead;
        keys.extend(std::iter::repeat_n(Health::Good, good));
        Just(keys).prop_shuffle()
    })
}

pub fn events(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    let send = (
        kind(),
        millis(0..500),
        option::weighted(0.1, millis(0..700)),
    )
        .prop_map(|(kind, latency, patience)| What::Send {
            kind,
            latency,
            patience,
        });
    let what = prop_oneof![40 => send, 1 => Just(What::Reload)];
    let event = (millis(0..2_000), what).prop_map(|(after, what)| Event { after, what });
    vec(event, count)
}

/// Lets the events happen. Requests overlap.
pub async fn play(world: &World, events: &[Event]) -> Vec<Outcome> {
    let mut requests = JoinSet::new();
    for event in events {
        sleep(event.after).await;
        match event.what {
            What::Reload => world.rotate(),
            What::Send {
                kind,
                latency,
                patience,
            } => {
                let world = world.clone();
                requests.spawn(async move { world.send(kind, latency, patience).await });
            }
        }
    }
    requests.join_all().await
}
