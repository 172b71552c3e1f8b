mod body;
mod field;
mod service;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;

/// What a caller sends next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Vec<u8>),
    Trailers,
    Error,
    /// Nothing yet. The body wakes its task.
    Wait,
    /// Nothing, ever.
    Stall,
}

/// A body that yields these steps, and knows its length.
#[derive(Debug)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    has_length: bool,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            has_length: true,
        }
    }

    pub(super) fn without_length(mut self) -> Self {
        self.has_length = false;
        self
    }

    /// The same bytes in frames of this size.
    pub(super) fn in_frames(data: &[u8], size: usize) -> Self {
        Self::new(data.chunks(size).map(|frame| Step::Data(frame.to_vec())))
    }

    fn len(&self) -> u64 {
        let lengths = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        lengths.sum()
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match self.steps.pop_front() {
            None => return Poll::Ready(None),
            Some(Step::Data(data)) => Ok(Frame::data(data.into())),
            Some(Step::Trailers) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-trailer", "1".parse().unwrap());
                Ok(Frame::trailers(trailers))
            }
            Some(Step::Error) => Err("cut"),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                return Poll::Pending;
            }
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.has_length {
            SizeHint::with_exact(self.len())
        } else {
            SizeHint::new()
        }
    }
}

/// The text of any JSON value, with the spaces and escapes that JSON allows.
pub(super) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        string(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..4);
        let fields = prop::collection::vec((name(), inner), 0..4);
        prop_oneof![
            (array, space()).prop_map(|(items, space)| format!("[{space}{}]", items.join(","))),
            fields.prop_map(|fields| object(&fields)),
        ]
    })
}

/// The text of an object, with or without a field `model`, or several of them.
pub(super) fn request() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((name(), json()), 0..5);
    (space(), fields).prop_map(|(space, fields)| space + &object(&fields))
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name} :{value}"))
        .collect();
    format!("{{{}}}", fields.join(" ,\n"))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#""model""#.to_owned()),
        Just(r#""\u006dod\u0065l""#.to_owned()),
        Just(r#""models""#.to_owned()),
        string(),
    ]
}

fn string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z0-9 .:/-]{0,6}",
        Just(r#"\""#.to_owned()),
        Just(r"\\".to_owned()),
        Just(r"\n".to_owned()),
        Just(r"\u00e9".to_owned()),
        Just(r"\ud83d\ude00".to_owned()),
        Just("é😀".to_owned()),
        Just("{[,:]}".to_owned()),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn space() -> impl Strategy<Value = String> {
    "[ \n\r\t]{0,3}"
}
