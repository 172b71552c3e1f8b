//! What the tests of this workspace share: a policy, mock services, request bodies, servers and
//! clients, and the conformance cases.

pub mod body;
pub mod conformance;
pub mod fake_clock;
pub mod harness;
pub mod mock;
pub mod paths;
pub mod policy;
pub mod redis_server;
pub mod verdict;
pub mod wire;
