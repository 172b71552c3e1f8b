//! Cases that random tests found.

use std::time::Duration;

use super::operation::{Operation::*, Reply::*, Settings};
use super::run;

#[test]
fn a_permanently_marked_key_that_returns_is_shared_by_those_that_wait_from_then_on() {
    let settings = Settings {
        keys: 3,
        groups: [Some(0), None, None, None],
        wait_for_key: Some(Duration::from_secs(4)),
        has_probes: true,
        jitter: 1,
    };
    let operations = [
        Send,
        Send,
        Send,
        Send,
        Respond(1, Revoked),
        Respond(1, Success),
        Respond(0, RateLimited(1)),
        Respond(0, RateLimited(3)),
        Send,
        Respond(0, RateLimited(1)),
        Send,
        Respond(2, RateLimited(3)),
        Respond(0, Success),
        Send,
        Respond(0, Success),
        Advance(Duration::from_millis(1876)),
        Respond(0, Success),
        Advance(Duration::from_millis(125)),
    ];
    run(&settings, &operations);
}
