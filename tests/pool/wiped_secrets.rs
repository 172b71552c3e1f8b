//! What is left of a key in memory. Read through the kernel: after the last handle is gone no
//! reference leads there any more.

use std::fs::File;
use std::os::unix::fs::FileExt;

use tower_key_failover::KeyPool;

/// What stands at an address now; nothing if it is not mapped any more.
fn memory(at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let memory = File::open("/proc/self/mem").unwrap();
    match memory.read_exact_at(&mut bytes, at as u64) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn holds(memory: &[u8], text: &str) -> bool {
    // An allocator writes into the first bytes of what it is given back.
    let end = &text.as_bytes()[text.len() / 2..];
    memory.windows(end.len()).any(|window| window == end)
}

#[test]
fn a_key_is_wiped_with_its_last_handle() {
    // Made here, so that the program itself contains no copy.
    let secret: String = (0..200).map(|at| char::from(b'a' + at % 23)).collect();
    let pool = KeyPool::new([secret.as_str()]).unwrap();
    let key = pool.walker().next_key().unwrap();
    let (value, bearer) = (key.header_value(), key.bearer());
    let places = [
        key.expose_secret().as_bytes(),
        value.as_bytes(),
        bearer.as_bytes(),
    ]
    .map(|bytes| (bytes.as_ptr() as usize, bytes.len()));
    drop((value, bearer, pool));
    for (at, len) in places {
        assert!(holds(&memory(at, len), &secret), "a handle is left");
    }
    drop(key);
    for (at, len) in places {
        assert!(!holds(&memory(at, len), &secret));
    }
}
