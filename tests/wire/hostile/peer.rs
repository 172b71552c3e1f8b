//! A side of a connection on which the test itself speaks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

pub struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        // Fails instead of hanging.
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        stream.set_write_timeout(patience).unwrap();
        let read = Vec::new();
        Self { stream, read }
    }

    /// The side on which to write, for a second thread.
    pub fn sender(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Fails where the other side is gone.
    pub fn write(&mut self, data: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(data.as_ref())
    }

    pub fn write_after(&mut self, pause: Duration, data: impl AsRef<[u8]>) -> io::Result<()> {
        thread::sleep(pause);
        self.write(data)
    }

    /// A byte at a time.
    pub fn dribble(&mut self, data: impl AsRef<[u8]>, pause: Duration) -> io::Result<()> {
        let mut bytes = data.as_ref().iter();
        bytes.try_for_each(|byte| self.write_after(pause, [*byte]))
    }

    /// Writes the same over and over, until the other side is gone or so much was written. Returns
    /// how much.
    pub fn flood(&mut self, data: &[u8], most: usize) -> usize {
        let mut written = 0;
        while written < most && self.write(data).is_ok() {
            written += data.len();
        }
        written
    }

    /// Everything up to and with the first occurrence of `text`; what there was, if there is none.
    pub fn read_until(&mut self, text: &str) -> String {
        let mut searched = 0;
        loop {
            let found = self.read[searched..]
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(searched + at + text.len());
                let read = std::mem::replace(&mut self.read, rest);
                return String::from_utf8_lossy(&read).into_owned();
            }
            searched = (self.read.len() + 1).saturating_sub(text.len());
            if self.read_more() == 0 {
                return String::from_utf8_lossy(&self.read).into_owned();
            }
        }
    }

    pub fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n")
    }

    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length && self.read_more() > 0 {}
        let rest = self.read.split_off(length.min(self.read.len()));
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads so much, and keeps nothing of it. Returns how much came.
    pub fn skim(&mut self, length: usize) -> usize {
        let mut came = 0;
        while came < length {
            self.read.clear();
            match self.read_more() {
                0 => break,
                more => came += more,
            }
        }
        came
    }

    /// Until the other side is gone. A reset is an end, too.
    pub fn wait_for_the_end(mut self) {
        self.skim(usize::MAX);
    }

    fn read_more(&mut self) -> usize {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(length) => {
                self.read.extend_from_slice(&buffer[..length]);
                length
            }
            Err(error) => {
                let is_over = error.kind() != io::ErrorKind::WouldBlock;
                assert!(is_over, "nothing happens any more");
                0
            }
        }
    }
}

/// An upstream. Each connection is served by a thread of its own.
pub struct Upstream {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn start(serve: impl Fn(Peer) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                thread::spawn(move || serve(Peer::new(stream.unwrap())));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// An upstream that misbehaves for the first key, and responds to all others.
    pub fn refusing(refuse: impl Fn(&mut Peer) + Clone + Send + 'static) -> Self {
        Self::start(move |mut peer| {
            if peer.read_head().contains("first-key") {
                refuse(&mut peer);
            } else {
                let _ = peer.write(FINE);
                peer.wait_for_the_end();
            }
        })
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

pub const ASK: &str = "GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\r\n";
