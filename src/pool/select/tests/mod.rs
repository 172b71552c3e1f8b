//! Which key a request uses.

mod affinity;
mod caps;
mod distribution;
mod pins;
mod replicas;
mod strategies;
mod threads;

use std::collections::HashMap;
use std::time::Duration;

use super::{Pick, PickRequest, Selection};
use crate::pool::error::ExhaustedKind;
use crate::pool::{Key, KeyChoice, KeyPool, KeyPoolBuilder, NewKey};

const REQUEST: PickRequest<'static> = PickRequest {
    choice: None,
    can_continue: true,
    has_probed: false,
    yields_to_waiters: false,
    may_exceed: true,
};

fn pick(pool: &KeyPool) -> Pick {
    pool.pick(REQUEST, std::iter::empty()).unwrap()
}

fn picked(pool: &KeyPool) -> usize {
    pick(pool).key.index()
}

fn pick_chosen(pool: &KeyPool, choice: &KeyChoice, tried: &[Key]) -> Option<Pick> {
    let request = PickRequest {
        choice: Some(choice),
        ..REQUEST
    };
    pool.pick(request, tried.iter())
}

/// The labels of the keys, in the order in which a session uses them.
fn order(pool: &KeyPool, session: u64) -> Vec<String> {
    let choice = KeyChoice::new().affinity(session);
    let mut tried = Vec::new();
    while let Some(pick) = pick_chosen(pool, &choice, &tried) {
        tried.push(pick.key);
    }
    let labels = tried.iter().map(|key| key.label().unwrap_or(key.hint()));
    labels.map(str::to_owned).collect()
}

fn first(pool: &KeyPool, session: u64) -> String {
    order(pool, session).swap_remove(0)
}

/// Keys with the labels `k0`, `k1` and so on.
fn keys(len: usize) -> impl Iterator<Item = NewKey> {
    (0..len).map(|at| NewKey::new(format!("secret-{at}")).label(format!("k{at}")))
}

fn pool_of(selection: Selection, keys: impl IntoIterator<Item = NewKey>) -> KeyPool {
    let pool = KeyPool::builder()
        .key("placeholder")
        .selection(selection)
        .build()
        .unwrap();
    pool.replace_keys(keys).unwrap();
    pool
}

fn shares(pool: &KeyPool, picks: u32) -> Vec<f64> {
    let mut counts = vec![0_u32; pool.len()];
    for _ in 0..picks {
        counts[picked(pool)] += 1;
    }
    let share = |count| f64::from(count) / f64::from(picks);
    counts.into_iter().map(share).collect()
}
