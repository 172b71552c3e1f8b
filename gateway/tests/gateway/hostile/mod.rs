//! One request never takes the pool down: hostile and odd requests next to good traffic.

mod bodies;
mod library;
mod odd_refusals;
mod outages;
mod ownership;
mod traffic;
