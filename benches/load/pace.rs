//! An open loop: requests are due at a constant rate, whether or not earlier ones have a response.
//!
//! Latency is counted from when a request was due. Where the proxy falls behind, the time that a
//! request waited for a connection is in it, as it would be for a client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::reply::Replies;

/// Sends what stands on the standard input, and prints each request's latency in microseconds.
pub fn send(proxy: SocketAddr, connections: u32, rate: u32, milliseconds: u64) {
    let mut request = Vec::new();
    std::io::stdin().read_to_end(&mut request).unwrap();
    let start = Instant::now() + Duration::from_millis(50);
    let end = start + Duration::from_millis(milliseconds);
    let mut latencies: Vec<u128> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|n| {
                let first = start + Duration::from_secs(n.into()) / rate;
                let every = Duration::from_secs(connections.into()) / rate;
                let request = &request;
                scope.spawn(move || keep_pace(proxy, request, first, every, end))
            })
            .collect();
        let latencies = threads.into_iter().map(|thread| thread.join().unwrap());
        latencies.flatten().collect()
    });
    latencies.sort_unstable();
    println!("{latencies:?}");
}

/// One connection's share, on a thread of its own: timers of a runtime go by the millisecond.
fn keep_pace(
    proxy: SocketAddr,
    request: &[u8],
    mut due: Instant,
    every: Duration,
    end: Instant,
) -> Vec<u128> {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut replies = Replies::new(&stream);
    let mut latencies = Vec::new();
    while due < end {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request).unwrap();
        replies.next();
        let latency = Instant::now().saturating_duration_since(due);
        latencies.push(latency.as_micros());
        due += every;
    }
    latencies
}
