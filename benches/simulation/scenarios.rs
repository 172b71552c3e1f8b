//! The providers and loads after whose cooldowns keys reopen.

use crate::arrivals::Load;
use crate::limiters::{Concurrency, FirstRefused, FixedWindow, Limiter, Outage, TokenBucket};
use crate::reopening::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    let new = Scenario::new;
    let (chat, fast, slow, minute) = (Load::CHAT, Load::FAST, Load::SLOW, Load::MINUTE);
    let served = chat.service.mean();
    vec![
        new(
            "1 key, responses take 60 s, one 429, 2/s",
            1,
            |_, _| first_refused(),
            minute.rate(2.0),
        )
        .lasts(60.0, 0.0),
        new(
            "1 key, responses take 60 s, one 429, 20/s",
            1,
            |_, _| first_refused(),
            minute.rate(20.0),
        )
        .lasts(60.0, 0.0),
        new(
            "1 key, bucket of 60/min, fast, bursts, load 0.8",
            1,
            |_, _| bucket(60.0),
            fast.rate(0.8).bursty(),
        ),
        new(
            "1 key, bucket of 60/min, fast, load 1.2",
            1,
            |_, _| bucket(60.0),
            fast.rate(1.2),
        ),
        new(
            "1 key, bucket of 600/min, fast, load 1.2",
            1,
            |_, _| bucket(600.0),
            fast.rate(12.0),
        ),
        new(
            "1 key, bucket of 600/min, slow, load 1.2",
            1,
            |_, _| bucket(600.0),
            slow.rate(12.0),
        ),
        new(
            "1 key, window of 600/min, fast, load 1.2",
            1,
            |_, _| FixedWindow::new(600, 0.0).boxed(),
            fast.rate(12.0),
        ),
        new(
            "1 key, window of 600/min, slow, bursts, load 1.05",
            1,
            |_, _| FixedWindow::new(600, 0.0).boxed(),
            slow.rate(10.5).bursty(),
        ),
        new(
            "1 key, 20 at once, chat, load 1.0",
            1,
            |_, _| concurrency(20),
            chat.rate(20.0 / served),
        ),
        new(
            "1 key, 20 at once, chat, load 1.3",
            1,
            |_, _| concurrency(20),
            chat.rate(26.0 / served),
        ),
        new(
            "1 key, refuses all for 120 s, fast",
            1,
            |_, _| outage(60.0, 180.0),
            fast.rate(10.0),
        )
        .lasts(300.0, 30.0),
        new(
            "1 key, refuses all for 120 s, slow",
            1,
            |_, _| outage(60.0, 180.0),
            slow.rate(10.0),
        )
        .lasts(300.0, 30.0),
        new(
            "10 keys, bucket of 60/min, fast, bursts, load 0.8",
            10,
            |_, _| bucket(60.0),
            fast.rate(8.0).bursty(),
        ),
        new(
            "10 keys, bucket of 60/min, chat, load 1.2",
            10,
            |_, _| bucket(60.0),
            chat.rate(12.0),
        ),
        new(
            "10 keys, same window of 600/min, slow, load 1.1",
            10,
            |_, _| FixedWindow::new(600, 0.0).boxed(),
            slow.rate(110.0),
        ),
        new(
            "10 keys, windows of 60/min, chat, load 1.2",
            10,
            |random, _| FixedWindow::new(60, random.unit() * 60.0).boxed(),
            chat.rate(12.0),
        ),
        new(
            "10 keys, 10 at once, chat, load 0.9",
            10,
            |_, _| concurrency(10),
            chat.rate(90.0 / served),
        ),
        new(
            "10 keys, 10 at once, slow, load 1.2",
            10,
            |_, _| concurrency(10),
            slow.rate(4.8),
        ),
        new(
            "10 keys, one always refuses, chat",
            10,
            |_, at| outage(0.0, if at == 0 { f64::MAX } else { 0.0 }),
            chat.rate(10.0),
        ),
        new(
            "10 keys, all refuse all for 120 s, slow",
            10,
            |_, _| outage(60.0, 180.0),
            slow.rate(50.0),
        )
        .lasts(300.0, 30.0),
        new(
            "10 keys, responses take 60 s, one 429 each, 20/s",
            10,
            |_, _| first_refused(),
            minute.rate(20.0),
        )
        .lasts(60.0, 0.0),
        new(
            "1 key, bucket of 600/min, fast, load 1.2, refusals take 1.4 s",
            1,
            |_, _| bucket(600.0),
            fast.rate(12.0),
        )
        .delay(0.7),
        new(
            "10 keys, 10 at once, chat, load 0.9, refusals take 1.4 s",
            10,
            |_, _| concurrency(10),
            chat.rate(90.0 / served),
        )
        .delay(0.7),
        new(
            "1 key, 20 at once, chat, load 1.0, refusals take 1.4 s",
            1,
            |_, _| concurrency(20),
            chat.rate(20.0 / served),
        )
        .delay(0.7),
    ]
}

fn outage(from: f64, to: f64) -> Box<dyn Limiter> {
    Outage {
        from,
        to,
        wait: 1.0,
    }
    .boxed()
}

fn first_refused() -> Box<dyn Limiter> {
    FirstRefused {
        wait: 1.0,
        is_over: false,
    }
    .boxed()
}

fn bucket(per_minute: f64) -> Box<dyn Limiter> {
    let capacity = if per_minute > 100.0 { 10.0 } else { 5.0 };
    TokenBucket::new(per_minute, capacity).boxed()
}

fn concurrency(limit: u32) -> Box<dyn Limiter> {
    Concurrency::new(limit, Some(1.0)).boxed()
}
