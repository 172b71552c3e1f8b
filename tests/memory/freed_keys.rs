//! A key is freed when the last handle to it goes, and not before. (That what is freed was wiped is
//! the promise of the types that hold it.)

use allocation_counter::measure;
use tower_key_failover::pool::KeyPool;

const LENGTH: usize = 64 * 1024;

/// The bytes that this frees.
fn freed(run: impl FnOnce()) -> i64 {
    let mut run = Some(run);
    -measure(|| run.take().expect("run once")()).bytes_current
}

/// The text, and two header values of it.
fn is_a_key(bytes: i64) -> bool {
    bytes > 3 * LENGTH as i64
}

#[test]
fn a_removed_key_without_handles_is_freed_at_once() {
    let pool = KeyPool::new(["k".repeat(LENGTH), "k1".into()]).unwrap();
    assert!(is_a_key(freed(|| pool.remove_key(0).unwrap())));
}

#[test]
fn a_removed_key_is_freed_with_its_last_handle() {
    let pool = KeyPool::new(["k".repeat(LENGTH), "k1".into()]).unwrap();
    let (handle, walker) = (pool.keys().next().unwrap(), pool.walker());
    let another = handle.clone();
    assert!(!is_a_key(freed(|| pool.remove_key(0).unwrap())));
    assert!(!is_a_key(freed(|| drop(walker))));
    assert!(!is_a_key(freed(|| drop(handle))));
    assert_eq!(another.expose_secret().len(), LENGTH);
    assert!(is_a_key(freed(|| drop(another))));
}

#[test]
fn a_header_value_keeps_only_its_own_bytes() {
    let pool = KeyPool::new(["k".repeat(LENGTH), "k1".into()]).unwrap();
    let header = pool.keys().next().unwrap().header_value();
    let rest = freed(|| pool.remove_key(0).unwrap());
    assert!(rest > 2 * LENGTH as i64 && !is_a_key(rest));
    assert!(freed(|| drop(header)) >= LENGTH as i64);
}

#[test]
fn the_report_of_a_change_keeps_no_key_alive() {
    let pool = KeyPool::new(["k".repeat(LENGTH), "k1".into()]).unwrap();
    let snapshot = pool.snapshot();
    let mut changes = None;
    let freed = freed(|| changes = Some(pool.replace_keys(["k1"]).unwrap()));
    assert!(is_a_key(freed));
    assert_eq!(changes.unwrap().removed.len(), 1);
    assert_eq!(snapshot.keys.len(), 2);
}
