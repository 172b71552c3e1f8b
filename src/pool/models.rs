//! Every interleaving of the operations on one key's words.

use loom::sync::Arc;
use loom::thread;

use super::trial::Trial;
use super::word::{Stamp, Until, Word};

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three threads are too many for all of them; three forced switches find what there is to find.
    builder.preemption_bound = Some(3);
    builder.check(check);
}

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

#[test]
fn of_those_who_ask_for_a_trial_at_once_exactly_one_gets_it() {
    model(|| {
        let trial = Arc::new(Trial::new());
        let stamp = Stamp::permanent(0);
        trial.update(stamp, |offer| offer.due = SOON);
        let threads = [(), ()].map(|()| {
            let trial = Arc::clone(&trial);
            thread::spawn(move || usize::from(trial.take(stamp, trial.offer(stamp))))
        });
        let taken: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(taken, 1);
    });
}

#[test]
fn a_trial_that_is_put_off_while_it_ends_is_both_put_off_and_given_back() {
    model(|| {
        let trial = Arc::new(Trial::new());
        let stamp = Stamp::permanent(0);
        assert!(trial.take(stamp, trial.offer(stamp)));
        let other = Arc::clone(&trial);
        let marker = thread::spawn(move || other.update(stamp, |offer| offer.due = LATE));
        trial.update(stamp, |offer| offer.held = false);
        marker.join().unwrap();
        let offer = trial.offer(stamp);
        assert_eq!((offer.due, offer.held), (LATE, false));
    });
}

#[test]
fn what_comes_late_of_a_generation_leaves_the_next_as_it_is() {
    model(|| {
        let trial = Arc::new(Trial::new());
        let (old, new) = (Stamp::permanent(0), Stamp::permanent(1));
        let seen = trial.offer(old);
        let threads = [
            {
                let trial = Arc::clone(&trial);
                thread::spawn(move || trial.update(new, |offer| offer.due = LATE))
            },
            {
                let trial = Arc::clone(&trial);
                thread::spawn(move || {
                    trial.take(old, seen);
                    trial.update(old, |offer| offer.held = false);
                })
            },
        ];
        for thread in threads {
            thread.join().unwrap();
        }
        let offer = trial.offer(new);
        assert_eq!((offer.due, offer.held), (LATE, false));
    });
}
