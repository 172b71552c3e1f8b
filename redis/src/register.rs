//! One record: what this replica knows of it, and what the server has.

use tokio::time::Instant;
use tower_key_failover::pool::Reason;

use crate::names::Name;
use crate::record::{End, Held, Record};

pub(crate) struct Register {
    pub(crate) name: Name,
    /// The greatest record that this replica has made or heard of.
    pub(crate) mine: Held,
    /// The server's record when this replica last heard of it.
    server: Held,
    /// The same on the server's clock: its epoch and its end.
    server_times: Option<(u64, u64)>,
    /// An act of this replica whose epoch is not known yet, because no server was connected since.
    act: Option<Instant>,
    /// When this replica last marked the limit.
    pub(crate) marked: Option<Instant>,
    /// Since when a change of this replica waits to be sent.
    pub(crate) fresh: Option<Instant>,
    /// What the server refused or accepted last. It is not sent again.
    settled: Option<(u64, End)>,
}

impl Register {
    pub(crate) fn new(name: Name) -> Self {
        Self {
            name,
            mine: Held::NOTHING,
            server: Held::NOTHING,
            server_times: None,
            act: None,
            marked: None,
            fresh: None,
            settled: None,
        }
    }

    /// This replica marked the limit.
    pub(crate) fn mark(&mut self, end: End, reason: Reason, now: Instant) {
        (self.mine.end, self.mine.reason) = (end, reason);
        self.marked = Some(now);
        self.fresh.get_or_insert(now);
    }

    /// An operator or a probe changed the limit, whatever its mark. A new epoch begins.
    pub(crate) fn act(&mut self, end: End, reason: Reason, now: Instant) {
        (self.mine.end, self.mine.reason) = (end, reason);
        self.act = Some(now);
        self.marked = None;
        self.fresh.get_or_insert(now);
    }

    /// Gives an act its epoch: when it happened on the server's clock, but later than what was known.
    /// Returns whether there was one without an epoch.
    pub(crate) fn assign_epoch(&mut self, server_time: impl Fn(Instant) -> u64) -> bool {
        let Some(act) = self.act.take() else {
            return false;
        };
        let known = self.mine.epoch.max(self.server.epoch);
        self.mine.epoch = server_time(act).max(known + 1);
        true
    }

    /// Whether the server should have what this replica knows.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.act.is_some()
            || self.settled != Some((self.mine.epoch, self.mine.end))
                && self.mine.outranks(self.server, now)
    }

    /// The server has `record`. Returns it if it is new and outranks what this replica knows.
    pub(crate) fn hear(&mut self, record: Record, server_now: u64, now: Instant) -> Option<Held> {
        let times = Some((record.epoch, record.until));
        if self.server_times == times {
            return None;
        }
        self.server_times = times;
        self.server = record.held(server_now, now);
        self.server.outranks(self.mine, now).then_some(self.server)
    }

    /// The server has no record, or an unknown one.
    pub(crate) fn forget_server(&mut self) {
        self.server = Held::NOTHING;
        self.server_times = None;
        self.settled = None;
    }

    /// What the server refused may be sent again.
    pub(crate) fn unsettle(&mut self) {
        self.settled = None;
    }

    /// The server answered a push of `sent`, the epoch and the end.
    pub(crate) fn settle(&mut self, sent: (u64, End)) {
        self.settled = Some(sent);
        if (self.mine.epoch, self.mine.end) == sent {
            self.fresh = None;
        }
    }
}
