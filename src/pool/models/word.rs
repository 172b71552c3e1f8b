//! Every interleaving of the operations on one key's word.

use loom::sync::Arc;
use loom::thread;

use super::model;
use crate::pool::word::{Stamp, Until, Word};

fn done<T>(_: T) {}

const SOON: u64 = 5;
const LATE: u64 = 9;

/// Runs each operation on a thread of its own, over a word that stood at `start`, and says where it
/// ends.
fn race<const N: usize>(start: Option<Stamp>, operations: [fn(&Word); N]) -> Stamp {
    let word = Arc::new(Word::new());
    if let Some(stamp) = start {
        word.raise(stamp);
    }
    let threads = operations.map(|operation| {
        let word = Arc::clone(&word);
        thread::spawn(move || {
            let before = word.load();
            operation(&word);
            assert!(word.load() >= before, "a word only grows");
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    word.load()
}

#[test]
fn the_later_deadline_wins_whatever_the_order() {
    model(|| {
        let end = race(
            None,
            [
                |word| done(word.raise(Stamp::temporary(0, SOON))),
                |word| done(word.raise(Stamp::temporary(0, LATE))),
            ],
        );
        assert_eq!(end, Stamp::temporary(0, LATE));
    });
}

#[test]
fn permanent_beats_every_cooldown() {
    model(|| {
        let end = race(
            None,
            [
                |word| done(word.raise(Stamp::permanent(0))),
                |word| done(word.raise(Stamp::temporary(0, LATE))),
            ],
        );
        assert_eq!(end.until(), Until::Never);
    });
}

#[test]
fn of_equal_marks_exactly_one_changes_the_word() {
    model(|| {
        let word = Arc::new(Word::new());
        let threads = [(), ()].map(|()| {
            let word = Arc::clone(&word);
            let stamp = Stamp::temporary(0, SOON);
            thread::spawn(move || usize::from(word.raise(stamp) < stamp))
        });
        let changes: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(changes, 1);
    });
}

#[test]
fn a_mark_of_an_older_generation_never_undoes_a_return() {
    model(|| {
        let end = race(
            Some(Stamp::permanent(0)),
            [
                |word| done(word.reinstate(Stamp::permanent(0))),
                // Attempts that began before the return.
                |word| done(word.raise(Stamp::temporary(0, LATE))),
                |word| done(word.raise(Stamp::permanent(0))),
            ],
        );
        assert_eq!((end.generation(), end.until()), (1, Until::Now));
    });
}

#[test]
fn a_return_is_undone_by_a_mark_it_did_not_see_or_comes_before_it() {
    model(|| {
        let end = race(
            Some(Stamp::temporary(0, SOON)),
            [
                |word| done(word.reinstate(Stamp::temporary(0, SOON))),
                |word| done(word.raise(Stamp::temporary(word.load().generation(), LATE))),
            ],
        );
        match end.generation() {
            // The mark came first and the return failed, or the mark was given out later.
            0 => assert_eq!(end, Stamp::temporary(0, LATE)),
            // The key was returned; a mark of the attempt before is lost, one of after stands.
            _ => assert!(matches!(end.until(), Until::Now | Until::Millis(LATE))),
        }
    });
}

#[test]
fn a_key_that_is_disabled_stays_so_whatever_its_attempts_and_trials_say() {
    model(|| {
        let end = race(
            Some(Stamp::permanent(0)),
            [
                |word| done(word.disable()),
                |word| done(word.reinstate(Stamp::permanent(0))),
                |word| done(word.raise(Stamp::temporary(0, LATE))),
            ],
        );
        assert_eq!(end.until(), Until::Never);
        assert!(end.generation() > 0);
    });
}

#[test]
fn nothing_brings_back_a_key_that_was_removed() {
    model(|| {
        let end = race(
            Some(Stamp::temporary(0, SOON)),
            [
                |word| done(word.raise(Stamp::REMOVED)),
                |word| done(word.reinstate(word.load())),
                |word| done(word.disable()),
            ],
        );
        assert_eq!(end, Stamp::REMOVED);
    });
}

#[test]
fn two_returns_at_once_are_one() {
    model(|| {
        let end = race(
            Some(Stamp::permanent(0)),
            [
                |word| done(word.reinstate(Stamp::permanent(0))),
                |word| done(word.reinstate(Stamp::permanent(0))),
            ],
        );
        assert_eq!((end.generation(), end.until()), (1, Until::Now));
    });
}
