//! The resources of a process, as `/proc` shows them.

use std::time::Duration;

use tokio::time::Instant;
use tower_key_failover::BoxError;

use crate::ledger::Ledger;

const MEGABYTE: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub resident: u64,
    pub files: usize,
    pub threads: u64,
}

/// The resources during the life of a process.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub start: Figures,
    /// By then, one-time allocations are done.
    warm_at: Instant,
    /// The most until then.
    warm: Figures,
    most: Figures,
}

impl Figures {
    pub fn of(process: u32) -> Result<Self, BoxError> {
        let process = format!("/proc/{process}");
        let status = std::fs::read_to_string(format!("{process}/status"))?;
        let field = |name: &str| -> Result<u64, BoxError> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.ok_or("no such field")?.parse()?)
        };
        Ok(Self {
            resident: field("VmRSS:")? * 1024,
            files: std::fs::read_dir(format!("{process}/fd"))?.count(),
            threads: field("Threads:")?,
        })
    }
}

impl Course {
    pub fn from(start: Figures, warming: Duration) -> Self {
        Self {
            start,
            warm_at: Instant::now() + warming,
            warm: start,
            most: start,
        }
    }

    pub fn add(&mut self, now: Figures) {
        self.most.resident = self.most.resident.max(now.resident);
        self.most.files = self.most.files.max(now.files);
        self.most.threads = self.most.threads.max(now.threads);
        if Instant::now() < self.warm_at {
            self.warm = self.most;
        }
    }

    /// Prints the course, and checks that the resources are back to their initial level.
    pub fn finish(&self, name: &str, end: Figures, ledger: &Ledger) {
        println!("\n{name}: {:>10} {:>6} {:>8}", "memory", "files", "threads");
        for (when, figures) in [
            ("start", self.start),
            ("warm", self.warm),
            ("most", self.most),
            ("end", end),
        ] {
            let megabytes = figures.resident as f64 / MEGABYTE as f64;
            let (files, threads) = (figures.files, figures.threads);
            println!("{when:>5} {megabytes:>9.1} MiB {files:>6} {threads:>8}");
        }
        if end.files > self.start.files {
            ledger.violation(format!("{name}: files are still open"));
        }
        if end.threads > self.start.threads {
            ledger.violation(format!("{name}: threads are left"));
        }
        let warm = self.warm.resident;
        if end.resident > warm + warm / 4 + 8 * MEGABYTE {
            ledger.violation(format!("{name}: memory has grown"));
        }
    }
}
