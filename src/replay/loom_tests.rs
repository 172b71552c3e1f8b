//! Every interleaving of a reader that is polled, superseded, dropped and woken.

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
use super::buffer::{Reader, Recorder};

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three threads are too many for all of them; three forced switches find what there is to find.
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A caller's body: `a`, and once it is told, `b` and the end, which it may tell beforehand.
struct Source(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    given: usize,
    told: bool,
    tells_end: bool,
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
        if shared.given == 1 && !shared.told {
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
        shared.tells_end && shared.given == 2
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut shared = self.0.lock().unwrap();
        assert!(!shared.dropped);
        shared.dropped = true;
    }
}

fn tell(shared: &Mutex<Shared>) {
    let mut shared = shared.lock().unwrap();
    shared.told = true;
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

/// Reads to the end; `Err` with what came before the reader was superseded.
fn read(reader: &mut Reader<Source>) -> Result<String, String> {
    block_on(async {
        let mut text = String::new();
        loop {
            match poll_fn(|cx| reader.poll_frame(cx)).await {
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

/// What a refused attempt's reader may come to: all of it, or a prefix and an error.
fn assert_whole_or_superseded(read: Result<String, String>) {
    match read {
        Ok(text) => assert_eq!(text, "ab", "a body that was cut never ends cleanly"),
        Err(text) => assert!("ab".starts_with(&text)),
    }
}

#[test]
fn a_superseded_view_never_ends_short_and_the_next_reads_all() {
    superseded(false);
}

#[test]
fn the_same_of_a_body_that_tells_its_end() {
    superseded(true);
}

fn superseded(tells_end: bool) {
    model(move || {
        let (recorder, mut first, shared, budget) = start();
        shared.lock().unwrap().tells_end = tells_end;
        let refused = thread::spawn(move || assert_whole_or_superseded(read(&mut first)));
        let teller = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || tell(&shared))
        };
        recorder.supersede().unwrap();
        let (_, mut second) = recorder.replay();
        assert_eq!(read(&mut second).as_deref(), Ok("ab"));
        refused.join().unwrap();
        teller.join().unwrap();
        drop((recorder, second));
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}

#[test]
fn the_last_attempt_reads_all_though_nothing_is_recorded_for_it() {
    model(|| {
        let (recorder, mut first, shared, budget) = start();
        tell(&shared);
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
fn a_view_that_is_dropped_while_it_is_superseded_loses_nothing() {
    model(|| {
        let (recorder, mut first, shared, _) = start();
        let refused = thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = first.poll_frame(&mut cx);
            let _ = first.poll_frame(&mut cx);
            drop(first);
        });
        recorder.supersede().unwrap();
        let (_, mut second) = recorder.replay();
        let reader = thread::spawn(move || assert_eq!(read(&mut second).as_deref(), Ok("ab")));
        tell(&shared);
        refused.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn an_answer_that_is_handed_over_while_its_body_is_read_cuts_nothing_and_frees_all() {
    model(|| {
        let (recorder, mut reader, shared, budget) = start();
        let reader = thread::spawn(move || assert_eq!(read(&mut reader).as_deref(), Ok("ab")));
        let teller = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || tell(&shared))
        };
        drop(recorder);
        reader.join().unwrap();
        teller.join().unwrap();
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}

#[test]
fn a_call_that_is_cancelled_while_its_view_is_polled_and_dropped_leaves_nothing() {
    model(|| {
        let (recorder, mut reader, shared, budget) = start();
        let reader = thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = reader.poll_frame(&mut cx);
            drop(reader);
        });
        drop(recorder);
        reader.join().unwrap();
        assert!(shared.lock().unwrap().dropped);
        assert_eq!(budget.held(), 0);
    });
}
