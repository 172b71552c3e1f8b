use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, SizeHint};
use proptest::prelude::*;
use tokio_test::task::spawn;

use super::{Script, Step, request};
use crate::model_scope::RequestBody;
use crate::model_scope::model_field::find;
use crate::model_scope::start::Start;
use crate::model_scope::{model_field::Model, start::LIMIT};
use crate::pool::Scope;

fn read(script: Script) -> (Option<Scope>, RequestBody<Script>) {
    let mut start = Start::new(script);
    let mut task = spawn(poll_fn(|cx| start.poll_scope(cx)));
    // Every script that does not stall wakes its task.
    let scope = loop {
        if let Poll::Ready(scope) = task.poll() {
            break scope;
        }
        assert!(task.is_woken());
    };
    drop(task);
    (scope, start.into_body())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Whole {
    data: Vec<u8>,
    has_trailers: bool,
    has_error: bool,
}

/// Collects a body, and checks what it says about its length all the way.
fn collect<B: Body<Data = Bytes> + Unpin>(mut body: B, len: Option<usize>) -> Whole {
    let mut whole = Whole::default();
    let mut hints = Vec::new();
    loop {
        let hint = body.size_hint();
        if let Some(len) = len {
            assert_eq!(hint.exact(), Some((len - whole.data.len()) as u64));
        }
        hints.push((whole.data.len() as u64, hint));
        let says_end = body.is_end_stream();
        let mut task = spawn(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
        let frame = loop {
            if let Poll::Ready(frame) = task.poll() {
                break frame;
            }
            assert!(task.is_woken());
        };
        drop(task);
        assert!(!says_end || frame.is_none(), "a body went on after its end");
        match frame {
            None => {
                let len = whole.data.len() as u64;
                let fits = |(at, hint): &(u64, SizeHint)| {
                    hint.lower() <= len - at && hint.upper().is_none_or(|upper| upper >= len - at)
                };
                assert!(hints.iter().all(fits));
                return whole;
            }
            Some(Err(_)) => whole.has_error = true,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => whole.data.extend_from_slice(&data),
                Err(_) => whole.has_trailers = true,
            },
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let data = prop_oneof![
        4 => request().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (0..LIMIT + 100).prop_map(|len| vec![b' '; len]),
    ];
    let end = prop_oneof![
        Just(vec![]),
        Just(vec![Step::Trailers]),
        Just(vec![Step::Error]),
    ];
    let frames = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..6);
    (data, frames, end).prop_map(|(data, cuts, end)| {
        let mut cuts: Vec<_> = cuts
            .iter()
            .map(|(at, waits)| (at.index(data.len() + 1), *waits))
            .collect();
        cuts.sort_unstable();
        let mut steps = Vec::new();
        let mut from = 0;
        for (at, waits) in cuts {
            steps.push(Step::Data(data[from..at].to_vec()));
            steps.extend(waits.then_some(Step::Wait));
            from = at;
        }
        steps.push(Step::Data(data[from..].to_vec()));
        steps.extend(end);
        steps
    })
}

proptest! {
    #[test]
    fn a_body_that_was_read_is_the_original_byte_by_byte(steps in steps(), has_length: bool) {
        let script = || {
            let script = Script::new(steps.clone());
            if has_length { script } else { script.without_length() }
        };
        let original = script();
        let len = has_length.then(|| original.len() as usize);
        let expected = collect(original, len);
        let (scope, body) = read(script());
        let start = &expected.data[..expected.data.len().min(LIMIT)];
        prop_assert_eq!(Model::Known(scope), find(start).or_none());
        prop_assert_eq!(collect(body, len), expected);
    }

    #[test]
    fn a_scope_is_known_as_soon_as_the_field_is_complete(text in request(), sizes in frame_sizes()) {
        let text = text.as_bytes();
        let whole = find(text);
        let complete = match whole {
            Model::Known(Some(_)) => (0..text.len()).find(|end| find(&text[..*end]) == whole),
            _ => None,
        };
        let start = &text[..complete.unwrap_or(text.len())];
        let mut rest = start;
        let frames = sizes.iter().cycle().map_while(|size| {
            let frame = rest.split_off(..rest.len().min(*size))?;
            (!frame.is_empty()).then_some(frame)
        });
        let scope = scope_before_stall(frames);
        prop_assert_eq!(scope.map(Model::Known), Some(whole));
    }
}

fn frame_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..20, 1..4)
}

#[test]
fn the_scope_does_not_depend_on_where_frames_end() {
    let text = r#"{"stream":true,"n":-1.5e+3,"model":"gpt\u002d4o","messages":["é"]}"#;
    for size in 1..=text.len() {
        let (scope, body) = read(Script::in_frames(text.as_bytes(), size));
        assert_eq!(scope.unwrap().as_str(), "gpt-4o", "{size}");
        assert_eq!(
            collect(body, Some(text.len())).data,
            text.as_bytes(),
            "{size}"
        );
    }
}

#[test]
fn a_model_in_the_first_frame_copies_nothing_and_reads_no_further() {
    let text = r#"{"model":"m","messages":[]}"#;
    let (scope, body) = read(Script::new([Step::Data(text.into()), Step::Stall]));
    assert_eq!(scope.unwrap().as_str(), "m");
    assert_eq!(body.read.len(), 0);
    assert!(body.next.is_some());
}

#[test]
fn a_model_within_64_kib_is_found_and_a_later_one_is_not() {
    for (padding, expected) in [(LIMIT - 12, Some("m")), (LIMIT - 11, None)] {
        let text = format!("{}{{\"model\":\"m\"}}", " ".repeat(padding));
        for size in [7, 1000, 8192, text.len()] {
            let (scope, body) = read(Script::in_frames(text.as_bytes(), size));
            assert_eq!(scope.as_ref().map(Scope::as_str), expected, "{size}");
            assert_eq!(collect(body, Some(text.len())).data, text.as_bytes());
        }
    }
}

#[test]
fn no_more_than_64_kib_are_held() {
    let text = vec![b' '; 3 * LIMIT];
    for size in [100, 1000, 40_000, LIMIT - 1, LIMIT] {
        let mut start = Start::new(Script::in_frames(&text, size));
        let mut task = spawn(poll_fn(|cx| {
            let poll = start.poll_scope(cx);
            assert!(start.read.capacity() <= LIMIT);
            poll
        }));
        while task.poll().is_pending() {}
        drop(task);
        let body = start.into_body();
        assert!(body.read.len() <= LIMIT);
        assert_eq!(collect(body, Some(text.len())).data, text);
    }
}

#[test]
fn small_frames_do_not_occupy_the_thread() {
    let steps = std::iter::repeat_n(Step::Data(b" ".to_vec()), 1000);
    let mut start = Start::new(Script::new(steps.chain([Step::Stall])));
    let mut task = spawn(poll_fn(|cx| start.poll_scope(cx)));
    let mut polls = 0;
    while task.poll().is_pending() && task.is_woken() {
        polls += 1;
    }
    assert!((20..60).contains(&polls), "{polls}");
}

#[test]
fn frames_of_one_byte_are_parsed_a_bounded_number_of_times() {
    let mut start = Start::new(Script::in_frames(&vec![b' '; LIMIT], 1));
    let mut parses = 0;
    let mut parsed = 0;
    let mut task = spawn(poll_fn(|cx| {
        let poll = start.poll_scope(cx);
        if start.parsed != parsed {
            parsed = start.parsed;
            parses += 1;
        }
        poll
    }));
    while task.poll().is_pending() {}
    drop(task);
    assert!(parses <= 17, "{parses}");
}

/// The scope of a caller who sends these frames and stalls. `None` if it is still awaited.
fn scope_before_stall<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Option<Option<Scope>> {
    let frames = frames.map(|frame| Step::Data(frame.to_vec()));
    let mut start = Start::new(Script::new(frames.chain([Step::Stall])));
    let mut task = spawn(poll_fn(|cx| start.poll_scope(cx)));
    loop {
        match task.poll() {
            Poll::Ready(scope) => return Some(scope),
            Poll::Pending if task.is_woken() => {}
            Poll::Pending => return None,
        }
    }
}

#[test]
fn a_caller_who_stalls_after_the_model_does_not_delay_the_request() {
    let long = format!(r#"{{"messages":"{}","model":"#, "x".repeat(40_000));
    for (before, model) in [
        (r#"{"model":"#, r#""m""#),
        (
            r#"{"a":{"model":"no"},"b":["model",{"c":"\\"}],"model":"#,
            r#""m""#,
        ),
        (
            r#"{"a":"model","b":"\"model\":\"no\"","\u006dodel" : "#,
            r#""m""#,
        ),
        (&long, r#""m""#),
        (&long, r#""\\\"m""#),
        (&long, "42,"),
        (&long, "null}"),
        (&long, r#"["a",{"b":"c"}],"#),
    ] {
        let text = format!("{before}{model}");
        let expected = find(text.as_bytes()).or_none();
        for size in [1, 3, before.len(), before.len() - 1] {
            let (first, rest) = text.as_bytes().split_at(size);
            let frames = [first].into_iter().chain(rest.chunks(size.min(5)));
            let scope = scope_before_stall(frames);
            let scope = scope.unwrap_or_else(|| panic!("{size}: {before:.60}"));
            assert_eq!(Model::Known(scope), expected, "{size}: {model}");
        }
    }
}

#[test]
fn fields_that_look_like_the_model_are_not_parsed_one_by_one() {
    let fields = r#""a":"model","models":"","model "#.repeat(LIMIT / 30);
    for text in [
        format!(r#"{{"a":"{fields}"#),
        format!(r#"{{"a":1,{}"#, r#""a":"model","b":"","#.repeat(LIMIT / 20)),
        // After an error that looks like a number which is cut off, until the next parse.
        format!(r#"{{"a":1e,{}"#, r#""model":"","b":1"#.repeat(LIMIT / 15)),
    ] {
        let mut start = Start::new(Script::in_frames(text.as_bytes(), 1));
        let (mut parses, mut parsed) = (0, 0);
        let mut task = spawn(poll_fn(|cx| {
            let poll = start.poll_scope(cx);
            parses += usize::from(start.parsed != parsed);
            parsed = start.parsed;
            poll
        }));
        while task.poll().is_pending() {}
        drop(task);
        assert!(parses <= 18, "{parses}");
    }
}

#[test]
fn an_error_of_the_caller_reaches_the_inner_service() {
    let steps = [Step::Data(b"{\"a\":".to_vec()), Step::Error];
    let (scope, body) = read(Script::new(steps));
    assert_eq!(scope, None);
    let whole = collect(body, Some(5));
    assert_eq!((&whole.data[..], whole.has_error), (&b"{\"a\":"[..], true));
}

#[test]
fn a_stalled_body_is_pending_and_wakes_nobody() {
    let steps = [Step::Data(b"{\"a\":".to_vec()), Step::Stall];
    let mut start = Start::new(Script::new(steps));
    let mut task = spawn(poll_fn(|cx| start.poll_scope(cx)));
    assert!(task.poll().is_pending());
    assert!(!task.is_woken());
    drop(task);
    assert!(poll_fn(|cx| start.poll_scope(cx)).now_or_never().is_none());
}
