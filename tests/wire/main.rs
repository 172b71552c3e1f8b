//! The layer between real peers over loopback, on HTTP/1.1 and HTTP/2.

#![allow(unreachable_pub)]
mod support;

mod connections;
mod refusals;
mod streaming;
mod transport;
