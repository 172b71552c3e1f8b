//! The signals that the gateway handles.

use std::io;

/// SIGINT and SIGTERM. On other systems than Unix, Ctrl-C.
pub struct Stop {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// SIGHUP. On other systems than Unix, nothing.
pub struct Hangup {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{SignalKind, signal};

    use super::{Hangup, Stop, io};

    impl Stop {
        pub fn new() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        pub async fn next(&mut self) {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }

    impl Hangup {
        /// Installs the handler. From then on, the signal no longer ends the program.
        pub fn new() -> io::Result<Self> {
            let hangup = signal(SignalKind::hangup())?;
            Ok(Self { hangup })
        }

        pub async fn next(&mut self) {
            self.hangup.recv().await;
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use super::{Hangup, Stop, io};

    impl Stop {
        pub fn new() -> io::Result<Self> {
            Ok(Self {})
        }

        pub async fn next(&mut self) {
            let _ = tokio::signal::ctrl_c().await;
        }
    }

    impl Hangup {
        pub fn new() -> io::Result<Self> {
            Ok(Self {})
        }

        pub async fn next(&mut self) {
            std::future::pending().await
        }
    }
}
