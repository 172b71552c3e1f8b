//! What can happen.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// How many keys there are in the world; a pool holds some of them.
pub const KEYS: usize = 5;
pub const REQUESTS: usize = 8;

/// What a pool and a layer are set to.
#[derive(Clone, Debug)]
pub struct Rules {
    pub keys: usize,
    /// The group of each key.
    pub groups: [Option<u8>; KEYS],
    pub max_attempts: Option<usize>,
    pub growth: Option<Duration>,
}

pub fn rules() -> impl Strategy<Value = Rules> {
    let seconds = |range| {
        option::of(proptest::strategy::Strategy::prop_map(
            range,
            Duration::from_secs,
        ))
    };
    (
        1..=KEYS,
        proptest::array::uniform(option::weighted(0.2, 0..2_u8)),
        option::weighted(0.3, 1..4_usize),
        seconds(60..600_u64),
    )
        .prop_map(|(keys, groups, max_attempts, growth)| Rules {
            keys,
            groups,
            max_attempts,
            growth,
        })
}

/// Requests and keys are meant modulo how many there are.
#[derive(Clone, Debug)]
pub enum Operation {
    Start,
    /// The attempt of a request gets a response.
    Answer(usize, Answer),
    /// The body of a response that is being inspected ends.
    EndBody(usize),
    Cancel(usize),
    Advance(Duration),
    /// The inner service takes requests, or makes them wait.
    SetReady(bool),
    Reinstate(usize),
    Disable(usize),
    /// The pool's keys are to be these, of all in the world, in this order.
    Replace(Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Good,
    /// Forwarded, and says nothing of the key.
    Broken,
    /// The key is marked permanently.
    Revoked,
    Keep,
    /// For so many seconds; 0 is without a hint.
    Limited(u64),
    /// The head is not enough. The body marks the key permanently, and ends late.
    Inspect,
    /// No response at all.
    Failed,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Good),
        1 => Just(Answer::Broken),
        4 => Just(Answer::Revoked),
        1 => Just(Answer::Keep),
        4 => (0..30_u64).prop_map(Answer::Limited),
        2 => Just(Answer::Inspect),
        1 => Just(Answer::Failed),
    ]
}

pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let any_request = 0..REQUESTS;
    let any_key = 0..KEYS;
    let operation = prop_oneof![
        8 => Just(Operation::Start),
        12 => (any_request.clone(), answer()).prop_map(|(at, answer)| Operation::Answer(at, answer)),
        2 => any_request.clone().prop_map(Operation::EndBody),
        2 => any_request.prop_map(Operation::Cancel),
        5 => (1..12_000_u64).prop_map(|millis| Operation::Advance(Duration::from_millis(millis))),
        1 => any::<bool>().prop_map(Operation::SetReady),
        1 => any_key.clone().prop_map(Operation::Reinstate),
        1 => any_key.clone().prop_map(Operation::Disable),
        1 => Just((0..KEYS).collect::<Vec<_>>())
            .prop_shuffle()
            .prop_flat_map(|keys| (Just(keys), 1..=KEYS))
            .prop_map(|(mut keys, length)| {
                keys.truncate(length);
                Operation::Replace(keys)
            }),
    ];
    vec(operation, 1..60)
}
