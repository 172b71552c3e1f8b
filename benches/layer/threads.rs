use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Does `this` while a second thread keeps doing `other`.
pub fn beside(other: impl Fn() + Sync, this: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                other();
            }
        });
        this();
        done.store(true, Ordering::Relaxed);
    });
}
