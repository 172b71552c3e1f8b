//! The first event of a stream of server-sent events: when it is whole, and what it says.

use std::ops::Range;

use http::{HeaderMap, header};

/// Whether these are the headers of such a stream, and it can be read as it comes.
pub(crate) fn is_plain_stream(headers: &HeaderMap) -> bool {
    let is_events = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..17))
        .is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"));
    is_events && !headers.contains_key(header::CONTENT_ENCODING)
}

/// Looks for the end of the first event, each byte once however the stream is cut.
///
/// Comments and fields alone are no event: a server may send some to keep the connection alive.
#[derive(Debug, Default)]
pub(crate) struct FirstEvent {
    line: usize,
    seen: usize,
    has_data: bool,
    is_whole: bool,
}

impl FirstEvent {
    /// Whether the event is whole, now that the stream has come so far.
    pub(crate) fn is_whole(&mut self, stream: &[u8]) -> bool {
        while let Some(line) = self.next_line(stream) {
            self.is_whole = self.has_data && line.is_empty();
            self.has_data |= stream[line].starts_with(b"data");
            if self.is_whole {
                break;
            }
        }
        self.is_whole
    }

    fn next_line(&mut self, stream: &[u8]) -> Option<Range<usize>> {
        if self.is_whole {
            return None;
        }
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let Some(at) = stream[self.seen..].iter().position(ends) else {
            self.seen = stream.len();
            return None;
        };
        let end = self.seen + at;
        let next = match (stream[end], stream.get(end + 1)) {
            (b'\n', _) => end + 1,
            (_, Some(b'\n')) => end + 2,
            (_, Some(_)) => end + 1,
            // A line feed may follow the carriage return.
            (_, None) => {
                self.seen = end;
                return None;
            }
        };
        let line = self.line..end;
        (self.line, self.seen) = (next, next);
        Some(line)
    }
}

/// The data of the first event, its lines joined.
#[cfg(feature = "providers")]
pub(crate) fn first_data(stream: &[u8]) -> Option<Vec<u8>> {
    let mut event = FirstEvent::default();
    let mut data: Option<Vec<u8>> = None;
    while let Some(line) = event.next_line(stream) {
        match (&mut data, &stream[line]) {
            (Some(_), []) => return data,
            (data, line) => {
                if let Some(value) = value_of_data(line) {
                    match data {
                        Some(data) => {
                            data.push(b'\n');
                            data.extend_from_slice(value);
                        }
                        None => *data = Some(value.to_vec()),
                    }
                }
            }
        }
    }
    None
}

#[cfg(feature = "providers")]
fn value_of_data(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(all(test, feature = "providers", not(tower_key_failover_loom)))]
mod tests {
    use super::{FirstEvent, first_data};

    const STREAMS: [(&str, Option<&str>); 9] = [
        ("data: one\n\n", Some("one")),
        ("data:one\r\n\r\nrest", Some("one")),
        ("event: error\rdata: one\rdata: two\r\rx", Some("one\ntwo")),
        (": PROCESSING\n\n: PROCESSING\n\ndata: one\n\n", Some("one")),
        ("event: ping\n\ndata: one\n\n", Some("one")),
        ("data\n\n", Some("")),
        ("data: one\n", None),
        (": nothing\n\n", None),
        ("", None),
    ];

    #[test]
    fn the_first_event_is_the_first_with_data() {
        for (stream, data) in STREAMS {
            let found = first_data(stream.as_bytes());
            assert_eq!(found.as_deref(), data.map(str::as_bytes), "{stream:?}");
        }
    }

    #[test]
    fn an_event_is_whole_when_it_can_be_read_however_it_is_cut() {
        for (stream, data) in STREAMS {
            let mut event = FirstEvent::default();
            for end in 0..=stream.len() {
                let stream = &stream.as_bytes()[..end];
                assert_eq!(
                    event.is_whole(stream),
                    first_data(stream).is_some(),
                    "{stream:?}"
                );
            }
            assert_eq!(event.is_whole(stream.as_bytes()), data.is_some());
        }
    }
}
