//! HTTP/2 as far as it takes to misuse it.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::hostile::peer::{Peer, Upstream};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A status, as a header block.
pub fn status(status: &str) -> Vec<u8> {
    // A literal without indexing, whose name is the eighth of the static table.
    [&[0x08, status.len() as u8], status.as_bytes()].concat()
}

/// A header that no table holds.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let literal = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], literal(name), literal(value)].concat()
}

/// One request's side of a connection, from which frames go to the other side.
#[derive(Clone)]
pub struct Stream {
    connection: Arc<Mutex<TcpStream>>,
    id: u32,
    is_reset: Arc<AtomicBool>,
}

impl Stream {
    /// Fails where the other side is gone, or wants no more of this request.
    pub fn write(&self, kind: u8, flags: u8, payload: &[u8]) -> io::Result<()> {
        if self.is_reset.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        write(&self.connection, kind, flags, self.id, payload)
    }
}

fn write(
    connection: &Mutex<TcpStream>,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) -> io::Result<()> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    io::Write::write_all(&mut *connection.lock().unwrap(), &frame)
}

/// An upstream that misbehaves for its first request, and responds to all others.
pub fn refusing(refuse: impl Fn(Stream) -> io::Result<()> + Clone + Send + 'static) -> Upstream {
    let requests = Arc::new(AtomicUsize::new(0));
    Upstream::start(move |peer| {
        // The other side may go at any moment.
        let _ = serve(peer, &requests, &refuse);
    })
}

fn serve(
    mut peer: Peer,
    requests: &AtomicUsize,
    refuse: &(impl Fn(Stream) -> io::Result<()> + Clone + Send + 'static),
) -> io::Result<()> {
    let connection = Arc::new(Mutex::new(peer.sender()));
    let is_reset = Arc::new(AtomicBool::new(false));
    let mut refused = 0;
    peer.read_exact("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len());
    write(&connection, SETTINGS, 0, 0, &[])?;
    loop {
        let head = peer.read_exact(9);
        let &[a, b, c, kind, flags, d, e, f, g] = &head[..] else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        peer.read_exact(u32::from_be_bytes([0, a, b, c]) as usize);
        let id = u32::from_be_bytes([d, e, f, g]);
        match kind {
            SETTINGS if flags & ACK == 0 => write(&connection, SETTINGS, ACK, 0, &[])?,
            RST_STREAM if id == refused => is_reset.store(true, Ordering::SeqCst),
            HEADERS if requests.fetch_add(1, Ordering::SeqCst) == 0 => {
                refused = id;
                let stream = Stream {
                    connection: Arc::clone(&connection),
                    id,
                    is_reset: Arc::clone(&is_reset),
                };
                let refuse = refuse.clone();
                thread::spawn(move || refuse(stream));
            }
            HEADERS => {
                let flags = END_HEADERS | END_STREAM;
                write(&connection, HEADERS, flags, id, &status("200"))?;
            }
            _ => {}
        }
    }
}
