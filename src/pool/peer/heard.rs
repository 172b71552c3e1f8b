use std::time::Duration;

use crate::pool::reason::Reason;
use crate::pool::scope::Scope;

/// What another process says about a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It is cooling down. The [maximum](crate::pool::KeyPoolBuilder::max_cooldown) of this pool applies. A
    /// longer cooldown of this process stays.
    CoolingDown {
        /// For how long.
        remaining: Duration,
        /// Why.
        reason: Reason,
    },
    /// It is rate-limited in one scope. The maximum applies as well. If a request of this process is
    /// rate-limited in another scope within a second, the whole key cools down.
    ScopeCoolingDown {
        /// In which scope.
        scope: Scope,
        /// For how long.
        remaining: Duration,
        /// How long ago the other process was refused.
        age: Duration,
        /// Why.
        reason: Reason,
    },
    /// Its key was marked permanently. This raises a suspicion: the key stays usable, but other keys
    /// come first.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// A probe has returned its key to service. A permanently marked key of this process is due for a
    /// probe, if the pool probes keys.
    Works,
    /// An operator disabled it.
    Disabled,
    /// An operator reinstated it.
    Reinstated,
}
