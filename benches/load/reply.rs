use std::io::Read;
use std::net::TcpStream;

/// Answers over one connection, of which only what is needed here is understood.
pub struct Replies {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Replies {
    pub fn new(stream: &TcpStream) -> Self {
        Self {
            stream: stream.try_clone().unwrap(),
            buffer: Vec::new(),
        }
    }

    /// The head of the next response, once its body has been read as well. It must be a 200.
    pub fn next(&mut self) -> String {
        let end = loop {
            match self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.read(),
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "refused: {head}");
        let length: usize = field(&head, "content-length").parse().unwrap();
        while self.buffer.len() < end + length {
            self.read();
        }
        assert_eq!(self.buffer.len(), end + length, "more than was asked for");
        self.buffer.clear();
        head
    }

    fn read(&mut self) {
        let mut part = [0; 4096];
        let read = self.stream.read(&mut part).unwrap();
        assert!(read > 0, "the connection ended");
        self.buffer.extend_from_slice(&part[..read]);
    }
}

pub fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let field = fields.find(|field| field.0.eq_ignore_ascii_case(name));
    field.unwrap_or_else(|| panic!("no {name} in {head}")).1
}
