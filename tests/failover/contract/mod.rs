//! What tower asks of a service, and grants to one, over every kind of inner service: those of
//! [`inner`] are the rows, the tests of the other files the columns.

mod bench;
mod inner;
mod provider;
mod strict;

mod clones;
mod drops;
mod errors;
mod outcomes;
mod panics;
mod returns;
mod waiting;

/// Makes a test of each check for each inner service.
macro_rules! over {
    ([$($inner:ident),* $(,)?], $checks:tt) => {
        $(mod $inner {
            $crate::contract::check!($inner, $checks);
        })*
    };
}
pub(crate) use over;

macro_rules! check {
    ($inner:ident, [$($check:ident),* $(,)?]) => {
        $(#[tokio::test(start_paused = true)]
        async fn $check() {
            super::$check($crate::contract::inner::$inner).await;
        })*
    };
}
pub(crate) use check;
