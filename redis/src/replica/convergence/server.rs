//! The scripts of the server in Rust.

use std::collections::HashMap;

use tokio::time::Instant;
use tower_key_failover::pool::Reason;

use crate::names::Name;
use crate::record::{Record, SLACK, Told};
use crate::replica::Push;

pub(super) const FOREVER: u64 = (1 << 53) - 1;

pub(super) struct Server {
    pub(super) start: Instant,
    pub(super) records: HashMap<Name, Told>,
}

impl Server {
    pub(super) fn millis(&self, now: Instant) -> u64 {
        1_763_740_000_000 + (now - self.start).as_millis() as u64
    }

    /// Returns the winner, and whether that is new.
    pub(super) fn merge(&mut self, push: &Push, now: Instant) -> (Record, bool) {
        let at = self.millis(now);
        let old = self.records.get(&push.name).map(|told| told.record);
        let old_epoch = old.map_or(0, |old| old.epoch);
        let old_until = old.map_or(0, |old| old.until);
        let old_until = if old_until <= at { 0 } else { old_until };
        let is_mark = matches!(push.kind, "c" | "p");
        let mut epoch = push.epoch;
        if epoch < old_epoch && is_mark && at - push.age > old_epoch + 5_000 {
            epoch = old_epoch;
        }
        let until = match push.left {
            0 => 0,
            ..0 => FOREVER,
            left => at + left as u64,
        };
        let extends = match (until, old_until) {
            (FOREVER, _) | (_, FOREVER | 0) => until > old_until,
            _ => until >= old_until + SLACK.as_millis() as u64,
        };
        if epoch > old_epoch || epoch == old_epoch && extends {
            let reason = push.reason;
            let record = Record {
                epoch,
                until,
                at: if push.kind == "s" { at - push.age } else { at },
                reason,
            };
            let told = Told {
                name: push.name,
                sealed: push.sealed.clone(),
                record,
            };
            self.records.insert(push.name, told);
            return (record, true);
        }
        let nothing = Record {
            epoch: 0,
            until: 0,
            at: 0,
            reason: Reason::Other,
        };
        (old.unwrap_or(nothing), false)
    }
}
