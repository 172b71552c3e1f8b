//! Clients that take their time for a body: how soon does its first byte reach the upstream?

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::reply::{Replies, field};
use crate::upstream::{FIRST_BYTE_AT, now};

/// A body comes in this many parts, at equal distances.
const PARTS: u32 = 20;

/// So many clients send a body that takes `milliseconds`. Prints after how many microseconds the
/// first byte of each was upstream.
pub fn send(proxy: SocketAddr, clients: u32, milliseconds: u64) {
    let takes = Duration::from_millis(milliseconds);
    let waits: Vec<u128> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|n| {
                scope.spawn(move || {
                    // Not all at the same time.
                    thread::sleep(takes / clients * n);
                    upload(proxy, takes)
                })
            })
            .collect();
        let waits = threads.into_iter().map(|thread| thread.join().unwrap());
        waits.collect()
    });
    println!("{waits:?}");
}

fn upload(proxy: SocketAddr, takes: Duration) -> u128 {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    let part = [b' '; 1024];
    let length = part.len() * PARTS as usize;
    let head =
        format!("POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    let first = [head.as_bytes(), &part].concat();
    let begun = now();
    stream.write_all(&first).unwrap();
    for _ in 1..PARTS {
        thread::sleep(takes / (PARTS - 1));
        stream.write_all(&part).unwrap();
    }
    let head = Replies::new(&stream).next();
    let arrived: u128 = field(&head, FIRST_BYTE_AT).parse().unwrap();
    (arrived - begun) / 1000
}
