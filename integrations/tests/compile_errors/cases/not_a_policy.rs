//! Something else instead of a policy.
//!
//! Expected: `&str` is not a policy
//! Expected: use a built-in policy, such as

use tower_key_failover::{KeyFailoverLayer, KeyPool};

pub fn stack(pool: KeyPool) {
    let _ = KeyFailoverLayer::new("openai", pool);
}

fn main() {}
