//! The layers of tower and tower-http on either side, and what their order changes.

mod bodies;
mod limits;
mod repeats;
mod timeouts;
mod trace;
