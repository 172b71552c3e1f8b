//! Every interleaving of those who take, put off and give back one trial.

use loom::sync::Arc;
use loom::thread;

use super::model;
use crate::pool::trial::Trial;
use crate::pool::word::Stamp;

const LATE: u64 = 9;

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
