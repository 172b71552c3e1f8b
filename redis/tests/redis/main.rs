//! Tests with real servers. Each starts a `redis-server` from `PATH` and kills it in the end.

mod access;
mod clocks;
mod cluster;
mod exchange;
mod faults;
mod hostile;
mod network;
mod proxy;
mod replica;
mod requests;
mod scopes;
mod secrecy;
mod server;
mod setup;
mod upstream;
