//! What can happen.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// How many keys there are. A pool holds some of them.
pub const KEYS: usize = 4;
pub const GROUPS: u8 = 2;

/// The group of each key, or `None` without a group.
pub type Groups = [Option<u8>; KEYS];

#[derive(Clone, Debug)]
pub struct Settings {
    pub keys: usize,
    pub groups: Groups,
    pub wait_for_key: Option<Duration>,
    pub has_probes: bool,
    /// The intervals between probes vary with it.
    pub jitter: u64,
}

fn groups() -> impl Strategy<Value = Groups> {
    proptest::array::uniform(option::weighted(0.4, 0..GROUPS))
}

pub fn settings() -> impl Strategy<Value = Settings> {
    let wait = prop_oneof![
        2 => Just(None),
        2 => (1..60_u64).prop_map(|seconds| Some(Duration::from_secs(seconds))),
    ];
    (1..=KEYS, groups(), wait, any::<bool>(), any::<u64>()).prop_map(
        |(keys, groups, wait_for_key, has_probes, jitter)| Settings {
            keys,
            groups,
            wait_for_key,
            has_probes,
            jitter,
        },
    )
}

/// Requests and attempts are meant modulo how many there are.
#[derive(Clone, Debug)]
pub enum Operation {
    Send,
    Respond(usize, Reply),
    Cancel(usize),
    Advance(Duration),
    Disable(usize),
    Reinstate(usize),
    /// The pool's keys are these, in this order, and the groups are others.
    Replace(Vec<usize>, Groups),
    /// All requests are dropped. The marks are saved and restored to a new pool.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Success,
    /// An error that is forwarded and says nothing about the key.
    Error,
    /// The key is limited for so many seconds.
    RateLimited(u64),
    /// The key is marked permanently.
    Revoked,
    /// The key is refused and not marked.
    Kept,
    /// There is no response.
    Failed,
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        4 => Just(Reply::Success),
        1 => Just(Reply::Error),
        5 => (1..5_u64).prop_map(Reply::RateLimited),
        1 => Just(Reply::Revoked),
        1 => Just(Reply::Kept),
        1 => Just(Reply::Failed),
    ]
}

pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let any = 0..100_usize;
    let list = Just((0..KEYS).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_flat_map(|keys| (Just(keys), 1..=KEYS))
        .prop_map(|(mut keys, length)| {
            keys.truncate(length);
            keys
        });
    let operation = prop_oneof![
        10 => Just(Operation::Send),
        12 => (any.clone(), reply()).prop_map(|(at, reply)| Operation::Respond(at, reply)),
        2 => any.prop_map(Operation::Cancel),
        8 => (1..3000_u64).prop_map(|millis| Operation::Advance(Duration::from_millis(millis))),
        1 => (0..KEYS).prop_map(Operation::Disable),
        1 => (0..KEYS).prop_map(Operation::Reinstate),
        2 => (list, groups()).prop_map(|(keys, groups)| Operation::Replace(keys, groups)),
        1 => Just(Operation::Restart),
    ];
    vec(operation, 1..80)
}
