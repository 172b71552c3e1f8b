//! Keys that recover, and requests that wait for them.

mod default_probes;
mod exponential_cooldown;
mod inspection_during_cooldown;
mod key_check_after_readiness;
mod late_results;
mod probe_results;
mod probes;
mod readiness;
mod reopening;
mod scope_probes;
mod tried_keys;
mod wait_for_key;
mod wait_queue;
