//! Records that the server should have.

use std::time::Duration;

use tokio::time::Instant;
use tower_key_failover::pool::Reason;

use crate::names::{Name, Sealed};
use crate::record::End;
use crate::register::Register;

/// A record to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) name: Name,
    /// The scope, if it is about one.
    pub(crate) sealed: Option<Sealed>,
    pub(crate) epoch: u64,
    pub(super) end: End,
    /// Milliseconds. -1 if it lasts until an operator or a probe ends it.
    pub(crate) left: i64,
    /// Milliseconds since the mark was made.
    pub(crate) age: u64,
    pub(crate) kind: &'static str,
    pub(crate) reason: Reason,
}

/// What a register is about.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// When the limit can be used.
    Opens,
    /// Whether the key works at all.
    Health,
    /// When the limit can be used in a scope.
    Scope(&'a Sealed),
}

impl Push {
    pub(super) fn of(register: &Register, kind: Kind<'_>, now: Instant) -> Self {
        let mine = register.mine;
        let left = match mine.end.seen_at(now) {
            End::Open => 0,
            End::At(end) => millis(end.saturating_duration_since(now)).max(1),
            End::Never => -1,
        };
        let (letter, sealed) = match (kind, left) {
            (Kind::Scope(sealed), _) => ("s", Some(sealed.clone())),
            (_, 0) => ("o", None),
            (_, 1..) => ("c", None),
            (Kind::Opens, _) => ("d", None),
            (Kind::Health, _) => ("p", None),
        };
        let age = register.marked.map_or(0, |marked| {
            millis(now.saturating_duration_since(marked)).unsigned_abs()
        });
        Self {
            name: register.name,
            sealed,
            epoch: mine.epoch,
            end: mine.end,
            left,
            age,
            kind: letter,
            reason: mine.reason,
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
