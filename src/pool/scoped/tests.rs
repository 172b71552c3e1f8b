//! Many threads that mark and use scopes of one key.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::StatusCode;

use crate::pool::reason::{Cause, Reason};
use crate::pool::{Key, KeyPool, Scope};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn scope(name: &str) -> Scope {
    Scope::new(name).unwrap()
}

fn handle(pool: &KeyPool, at: usize, scope: &Scope) -> Key {
    pool.keys().nth(at).unwrap().for_scope(Some(scope))
}

fn cause(reason: Reason) -> Cause {
    Cause {
        reason,
        status: Some(StatusCode::TOO_MANY_REQUESTS),
    }
}

fn is_marked(pool: &KeyPool, at: usize, scope: &Scope) -> bool {
    let scopes = &pool.snapshot().keys[at].scopes;
    scopes.iter().any(|marked| marked.scope == *scope)
}

#[test]
fn no_rate_limit_is_lost_while_other_threads_change_the_same_table() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = Arc::new(pool.build().unwrap());
    thread::scope(|threads| {
        for thread in 0..4 {
            let pool = &pool;
            threads.spawn(move || {
                for n in 0..300 {
                    // More scopes than a table holds are refused, doubted and used.
                    let refused = scope(&format!("refused-{}", (n * 7 + thread) % 200));
                    let doubt = handle(pool, thread % 2, &refused).doubt_scope(&refused);
                    if n % 3 == 0 {
                        doubt.map(|doubt| doubt.convict(cause(Reason::Forbidden)));
                    }
                    handle(pool, 1, &refused).succeed(Some(&refused));
                    if n < 5 {
                        let hot = scope(&format!("hot-{thread}-{n}"));
                        let key = handle(pool, thread % 2, &hot);
                        key.cool_down_in(Some(&hot), Some(HOUR), cause(Reason::RateLimited));
                        assert!(is_marked(pool, 0, &hot) && is_marked(pool, 1, &hot));
                    }
                    assert!(pool.snapshot().keys[0].scopes.len() <= 128);
                }
            });
        }
    });
    for thread in 0..4 {
        for n in 0..5 {
            assert!(is_marked(&pool, 0, &scope(&format!("hot-{thread}-{n}"))));
        }
    }
}

#[test]
fn nothing_is_left_of_scopes_that_were_doubted_without_a_mark() {
    let pool = KeyPool::new(["k0"]).unwrap();
    thread::scope(|threads| {
        for thread in 0..4 {
            let pool = &pool;
            threads.spawn(move || {
                for n in 0..500 {
                    let scope = scope(&format!("scope-{}", (n + thread) % 80));
                    let key = handle(pool, 0, &scope);
                    let doubt = key.doubt_scope(&scope);
                    key.succeed(Some(&scope));
                    // The success came first.
                    if let Some(doubt) = doubt {
                        doubt.convict(cause(Reason::Forbidden));
                    }
                }
            });
        }
    });
    let key = pool.keys().next().unwrap();
    assert_eq!(key.pooled().core.scopes.all().len(), 0);
}
