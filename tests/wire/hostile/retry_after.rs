//! Whatever an upstream says about how long to wait, the key is out for no longer than the pool
//! allows, or not at all.

use std::time::Duration;

use tower_key_failover::pool::KeyState;

use crate::hostile::gateway::{MAX_COOLDOWN, Protocol, run};
use crate::hostile::peer::{ASK, Upstream};

const DEFAULT: Duration = Duration::from_secs(60);

/// For how long the key is out after a 429 with these headers; `None` if it is not.
fn out_for(headers: &str) -> Option<Duration> {
    let refusal = format!("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n{headers}\r\n");
    let upstream = Upstream::refusing(move |peer| drop(peer.write(&refusal)));
    let ran = run(upstream.address, Protocol::Http1, |mut peer| {
        peer.write(ASK).unwrap();
        peer.read_head()
    });
    assert_eq!(ran.states[1], KeyState::Valid);
    assert!(ran.elapsed < Duration::from_secs(1), "{:?}", ran.elapsed);
    assert!(ran.most < 4 << 20, "{} bytes were held", ran.most);
    match ran.states[0] {
        KeyState::Valid => {
            assert!(ran.client.starts_with("HTTP/1.1 502"), "{}", ran.client);
            None
        }
        KeyState::Temporary { retry_after } => {
            assert!(ran.client.starts_with("HTTP/1.1 200"), "{}", ran.client);
            Some(retry_after)
        }
        _ => panic!("out for good"),
    }
}

#[track_caller]
fn assert_out_for(expected: Duration, headers: &str) {
    let out = out_for(headers).expect("it was refused");
    let is_about = out <= expected && expected <= out + Duration::from_secs(2);
    assert!(is_about, "out for {out:?} and not {expected:?}");
}

#[test]
fn an_invalid_retry_after_means_the_default_cooldown() {
    for value in [
        "",
        "0",
        "-0",
        "-1",
        "-1e308",
        "1e400",
        "NaN",
        "-NaN",
        "inf",
        "-inf",
        "infinity",
        "0x7f",
        "1_000",
        "soon",
        "\u{a0}5",
        "5;",
        "1e-400",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ] {
        println!("{value}");
        assert_out_for(DEFAULT, &format!("retry-after: {value}\r\n"));
    }
}

#[test]
fn a_long_retry_after_is_capped_by_the_pool() {
    for value in [
        "601",
        "4294967295",
        "9223372036854775807",
        "1e18",
        "Tue, 19 Jan 2038 03:14:08 GMT",
    ] {
        println!("{value}");
        assert_out_for(MAX_COOLDOWN, &format!("retry-after: {value}\r\n"));
    }
}

#[test]
fn a_retry_after_that_overflows_is_no_hint() {
    for value in [
        "18446744073709551616",
        "1e308",
        "1e20",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        println!("{value}");
        assert_out_for(DEFAULT, &format!("retry-after: {value}\r\n"));
    }
}

#[test]
fn the_largest_retry_after_is_capped_or_ignored() {
    let out = out_for("retry-after: 18446744073709551615\r\n").unwrap();
    assert!(out <= MAX_COOLDOWN);
}

#[test]
fn a_retry_after_as_long_as_a_head_is_no_hint() {
    let long = "9".repeat(300_000);
    assert_out_for(DEFAULT, &format!("retry-after: {long}\r\n"));
}

#[test]
fn a_retry_after_of_a_megabyte_is_an_error() {
    let long = "9".repeat(1 << 20);
    assert_eq!(out_for(&format!("retry-after: {long}\r\n")), None);
}

#[test]
fn the_first_of_many_retry_after_headers_counts() {
    let others = "retry-after: 599\r\n".repeat(90);
    let headers = format!("retry-after: 7\r\n{others}");
    assert_out_for(Duration::from_secs(7), &headers);
}

#[test]
fn ten_thousand_retry_after_headers_are_an_error() {
    assert_eq!(out_for(&"retry-after: 7\r\n".repeat(10_000)), None);
}
