//! All interleavings of a reader that is polled, superseded, dropped and woken.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use loom::future::block_on;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::budget::ReplayBudget;
use super::reader::Reader;
use super::recorder::Recorder;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three threads have too many interleavings. Three preemptions find the known kinds of bugs.
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A caller's body: `a`, then `b` and the end once it is [continued](proceed). It can announce its end
/// beforehand.
struct Source(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    given: usize,
    continued: bool,
    announces_end: bool,
    waker: Option<Waker>,
    dropped: bool,
}

impl Body for Source {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let mut shared = self.0.lock().unwrap();
        if shared.given == 1 && !shared.continued {
            shared.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        shared.given += 1;
        Poll::Ready(match shared.given {
            1 => Some(Ok(Frame::data("a".into()))),
            2 => Some(Ok(Frame::data("b".into()))),
            3 => None,
            _ => panic!("polled after its end"),
        })
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.0.lock().unwrap();
        shared.announces_end && shared.given == 2
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut shared = self.0.lock().unwrap();
        assert!(!shared.dropped);
        shared.dropped = true;
    }
}

fn proceed(shared: &Mutex<Shared>) {
    let mut shared = shared.lock().unwrap();
    shared.continued = true;
    let waker = shared.waker.take();
    drop(shared);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn start() -> (
    Recorder<Source>,
    Reader<Source>,
    Arc<Mutex<Shared>>,
    ReplayBudget,
) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    let budget = ReplayBudget::new(1 << 20);
    let (head, ()) = Request::new(()).into_parts();
    let source = Source(Arc::clone(&shared));
    let (recorder, reader) = Recorder::start(&head, source, 1 << 10, budget.clone());
    (recorder, reader, shared, budget)
}

/// Reads to the end. `Err` has what came before the reader was superseded.
fn read(reader: &mut Reader<Source>) -> Result<String, String> {
    block_on(async {
        let mut text = String::new();
        loop {
            match poll_fn(|cx| Pin::new(&mut *reader).poll_frame(cx)).await {
                None => return Ok(text),
                Some(Ok(frame)) => {
                    text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                }
                Some(Err(error)) if error.is_superseded() => return Err(text),
                Some(Err(error)) => panic!("{error}"),
            }
        }
    })
}

/// A reader of a refused attempt yields everything, or a prefix and an error.
fn assert_whole_or_superseded(read: Result<String, String>) {
    match read {
        Ok(text) => assert_eq!(text, "ab", "a body that was cut never ends cleanly"),
        Err(text) => assert!("ab".starts_with(&text)),
    }
}

#[test]
fn a_superseded_reader_never_ends_early_and_the_next_reads_everything() {
    superseded(false);
}

#[test]
fn a_superseded_reader_of_a_body_that_announces_its_end_never_ends_early() {
    superseded(true);
}

fn superseded(announces_end: bool) {
    model(move || {
        let (recorder, mut first, shared, budget) = start();
        shared.lock().unwrap().announces_end = announces_end;
        let refused = thread::spawn(move || assert_whole_or_superseded(read(&mut first)));
        let continuer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || proceed(&shared))
        };
        recorder.supersede().unwrap();
        let (_, mut second) = recorder.replay();
        assert_eq!(read(&mut second).as_deref(), Ok("ab"));
        refused.join().unwrap();
        continuer.join().unwrap();
        drop((recorder, second));
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}

#[test]
fn the_last_attempt_reads_everything_without_a_recording() {
    model(|| {
        let (recorder, mut first, shared, budget) = start();
        proceed(&shared);
        let refused = thread::spawn(move || assert_whole_or_superseded(read(&mut first)));
        recorder.supersede().unwrap();
        let (_, mut last) = recorder.replay_last();
        assert_eq!(read(&mut last).as_deref(), Ok("ab"));
        refused.join().unwrap();
        drop(last);
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}

#[test]
fn a_reader_that_is_dropped_while_it_is_superseded_loses_nothing() {
    model(|| {
        let (recorder, mut first, shared, _) = start();
        let refused = thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut first).poll_frame(&mut cx);
            let _ = Pin::new(&mut first).poll_frame(&mut cx);
            drop(first);
        });
        recorder.supersede().unwrap();
        let (_, mut second) = recorder.replay();
        let reader = thread::spawn(move || assert_eq!(read(&mut second).as_deref(), Ok("ab")));
        proceed(&shared);
        refused.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn ending_the_recording_while_a_reader_reads_cuts_nothing_and_frees_everything() {
    model(|| {
        let (recorder, mut reader, shared, budget) = start();
        let reader = thread::spawn(move || assert_eq!(read(&mut reader).as_deref(), Ok("ab")));
        let continuer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || proceed(&shared))
        };
        drop(recorder);
        reader.join().unwrap();
        continuer.join().unwrap();
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}

#[test]
fn a_request_that_is_cancelled_while_its_body_is_polled_leaves_nothing() {
    model(|| {
        let (recorder, mut reader, shared, budget) = start();
        let reader = thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut reader).poll_frame(&mut cx);
            drop(reader);
        });
        drop(recorder);
        reader.join().unwrap();
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}
