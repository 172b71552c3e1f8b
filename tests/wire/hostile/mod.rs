//! Peers that mean harm, over real sockets. What the layer holds for them, to the byte, and how long
//! they can keep it busy.
//!
//! The layer runs on a thread of its own, whose every allocation is counted; its peers are blocking
//! sockets on others.

mod frames;
mod gateway;
mod peer;

mod bombs;
mod headers;
mod informational;
mod refusals;
mod retry_after;
mod uploads;
