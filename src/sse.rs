//! The first event of a stream of server-sent events: when it is complete, and what its data is.
//!
//! Lines, fields and comments are read as the [HTML standard][1] says. An event that only keeps the
//! connection alive is skipped, because an error can follow it.
//!
//! [1]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use std::ops::Range;

use http::{HeaderMap, header};

/// Types of events that keep the connection alive and mean nothing.
const KEEP_ALIVE: [&[u8]; 4] = [b"ping", b"keepalive", b"keep-alive", b"heartbeat"];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether these are the headers of a stream of server-sent events.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|byte| *byte == b';').next();
        essence.is_some_and(|essence| {
            let essence = essence.trim_ascii();
            essence.eq_ignore_ascii_case(b"text/event-stream")
        })
    })
}

/// Whether these are the headers of a stream of server-sent events that is not compressed.
pub(crate) fn is_plain_stream(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    is_stream(headers)
        && encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Detects the end of the first event. Each byte is read once, however the stream is cut.
#[derive(Debug, Default)]
pub(crate) struct FirstEvent {
    lines: Lines,
    event: EventKind,
    is_complete: bool,
}

impl FirstEvent {
    /// Whether the first event is complete in `stream`, which is everything that has arrived so far.
    pub(crate) fn is_complete(&mut self, stream: &[u8]) -> bool {
        while !self.is_complete
            && let Some(line) = self.lines.next(stream)
        {
            self.is_complete = self.event.push(Line::parse(&stream[line]));
        }
        self.is_complete
    }
}

/// The data of the first event, its lines joined by line feeds.
#[cfg(feature = "providers")]
pub(crate) fn first_data(stream: &[u8]) -> Option<Vec<u8>> {
    let (mut lines, mut event) = (Lines::default(), EventKind::default());
    let mut data: Vec<&[u8]> = Vec::new();
    while let Some(line) = lines.next(stream) {
        let line = Line::parse(&stream[line]);
        if event.push(line) {
            return Some(data.join(&b'\n'));
        }
        match line {
            Line::End => data.clear(),
            Line::Data(value) => data.push(value),
            Line::Event(_) | Line::Other => {}
        }
    }
    None
}

/// What is known of an event while its lines arrive.
#[derive(Debug, Default)]
struct EventKind {
    has_data: bool,
    keeps_alive: bool,
}

impl EventKind {
    /// Whether this line ends an event that means something.
    fn push(&mut self, line: Line<'_>) -> bool {
        match line {
            Line::End => {
                // Without data, there is no event.
                let Self {
                    has_data,
                    keeps_alive,
                } = std::mem::take(self);
                return has_data && !keeps_alive;
            }
            Line::Data(_) => self.has_data = true,
            Line::Event(name) => {
                let is_name = |other: &&[u8]| name.eq_ignore_ascii_case(other);
                self.keeps_alive = KEEP_ALIVE.iter().any(is_name);
            }
            Line::Other => {}
        }
        false
    }
}

#[derive(Clone, Copy)]
enum Line<'a> {
    /// An empty line ends the event.
    End,
    Data(#[cfg_attr(not(feature = "providers"), allow(dead_code))] &'a [u8]),
    /// The type of the event.
    Event(&'a [u8]),
    /// A comment, or another field.
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Self {
        if line.is_empty() {
            return Self::End;
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => Self::Data(value),
            b"event" => Self::Event(value),
            _ => Self::Other,
        }
    }
}

/// Splits a stream into lines while it arrives.
#[derive(Debug, Default)]
struct Lines {
    /// Where the next line starts.
    start: usize,
    /// Up to where no line ends.
    seen: usize,
    /// Whether the last line ended with a carriage return. A line feed after it belongs to it.
    after_return: bool,
}

impl Lines {
    /// The next line of `stream`, which is everything that has arrived so far.
    fn next(&mut self, stream: &[u8]) -> Option<Range<usize>> {
        if self.after_return && stream.get(self.start) == Some(&b'\n') {
            self.start += 1;
            self.after_return = false;
        }
        self.seen = self.seen.max(self.start);
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let Some(at) = stream[self.seen..].iter().position(ends) else {
            self.seen = stream.len();
            return None;
        };
        let end = self.seen + at;
        let mut start = self.start;
        if start == 0 && stream.starts_with(BYTE_ORDER_MARK) {
            start = BYTE_ORDER_MARK.len();
        }
        self.start = end + 1;
        self.after_return = stream[end] == b'\r';
        Some(start..end)
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::*;

    const STREAMS: [(&str, Option<&str>); 24] = [
        ("data: one\n\n", Some("one")),
        ("data:one\r\n\r\nrest", Some("one")),
        ("event: error\rdata: one\rdata: two\r\rx", Some("one\ntwo")),
        (": PROCESSING\n\n: PROCESSING\n\ndata: one\n\n", Some("one")),
        ("event: ping\n\ndata: one\n\n", Some("one")),
        ("event: ping\ndata: {}\n\ndata: one\n\n", Some("one")),
        (
            "data: {}\r\nevent: ping\r\n\r\ndata: one\r\n\r\n",
            Some("one"),
        ),
        ("event: Keepalive\rdata: {}\r\rdata: one\r\r", Some("one")),
        ("event: ping\ndata: {}\n\n", None),
        ("event: ping\nevent: error\ndata: one\n\n", Some("one")),
        (
            "event: ping\ndata: {}\n\nevent: error\ndata: one\n\n",
            Some("one"),
        ),
        ("database: one\n\n", None),
        (
            "dat: one\n\ndata : two\n\n data: three\n\nDATA: four\n\n",
            None,
        ),
        ("database: one\ndata: two\n\n", Some("two")),
        ("\u{feff}data: one\n\n", Some("one")),
        ("\u{feff}\u{feff}data: one\n\n", None),
        ("id: 1\ndata:  one\nretry: 5\n\n", Some(" one")),
        ("data: a\ndata\ndata: b\n\n", Some("a\n\nb")),
        ("\n\r\n\rdata: one\n\r", Some("one")),
        ("data\n\n", Some("")),
        ("data:\n\n", Some("")),
        ("data: one\n", None),
        (": nothing\n\n", None),
        ("", None),
    ];

    fn complete_at(stream: &[u8], step: usize) -> Option<usize> {
        let mut event = FirstEvent::default();
        let mut ends = (0..stream.len()).step_by(step).chain([stream.len()]);
        ends.find(|end| event.is_complete(&stream[..*end]))
    }

    #[cfg(feature = "providers")]
    #[test]
    fn the_first_event_is_the_first_one_with_data_that_does_more_than_keep_alive() {
        for (stream, data) in STREAMS {
            let found = first_data(stream.as_bytes());
            assert_eq!(found.as_deref(), data.map(str::as_bytes), "{stream:?}");
        }
    }

    #[test]
    fn an_event_is_complete_with_its_last_byte_however_the_stream_is_cut() {
        for (stream, data) in STREAMS {
            let stream = stream.as_bytes();
            let bytewise = complete_at(stream, 1);
            assert_eq!(bytewise.is_some(), data.is_some(), "{stream:?}");
            for step in 2..=stream.len() {
                let found = complete_at(stream, step);
                assert_eq!(found.is_some(), data.is_some(), "{stream:?} by {step}");
                assert!(found >= bytewise, "{stream:?} by {step}");
            }
        }
    }

    #[cfg(feature = "providers")]
    #[test]
    fn an_event_is_complete_when_its_data_can_be_read() {
        for (stream, _) in STREAMS {
            let mut event = FirstEvent::default();
            for end in 0..=stream.len() {
                let stream = &stream.as_bytes()[..end];
                let is_complete = first_data(stream).is_some();
                assert_eq!(event.is_complete(stream), is_complete, "{stream:?}");
            }
        }
    }

    #[test]
    fn a_stream_is_plain_unless_it_is_compressed_or_of_another_type() {
        for (headers, is_plain) in [
            (&[("content-type", "text/event-stream")][..], true),
            (
                &[("content-type", "Text/Event-Stream ; charset=utf-8")],
                true,
            ),
            (&[("content-type", "text/event-streams")], false),
            (&[("content-type", "application/json")], false),
            (&[], false),
            (
                &[
                    ("content-type", "text/event-stream"),
                    ("content-encoding", "identity"),
                ],
                true,
            ),
            (
                &[
                    ("content-type", "text/event-stream"),
                    ("content-encoding", "gzip"),
                ],
                false,
            ),
        ] {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            assert_eq!(is_plain_stream(&headers.collect()), is_plain);
        }
    }
}
