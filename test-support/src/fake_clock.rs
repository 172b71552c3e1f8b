//! A clock that jumps, for programs that a test starts.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// libfaketime, and the file that says what the clock of a program shows.
#[derive(Clone, Debug)]
pub struct FakeClock {
    library: PathBuf,
    pub(crate) file: PathBuf,
}

impl FakeClock {
    /// `None` if libfaketime is not installed.
    pub fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
        let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
        let name = format!("tower-key-failover-clock-{}-{number}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, "+0\n").unwrap();
        Some(Self {
            library: libraries.find(|library| library.exists())?,
            file,
        })
    }

    /// Sets the clock: to `-1h`, for example.
    pub fn set(&self, offset: &str) {
        std::fs::write(&self.file, format!("{offset}\n")).unwrap();
    }

    /// Gives a program this clock. Its timers keep their pace.
    pub fn give(&self, command: &mut Command) {
        // With jemalloc, which some servers use, libfaketime waits for itself.
        let library = format!("{}:libc.so.6", self.library.display());
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
