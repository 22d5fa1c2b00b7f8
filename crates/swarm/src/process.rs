//! Processor time and memory of a process, from `/proc`. Time is in nanoseconds
//! where the kernel counts so, and that of the threads that there are.

use std::fs;
use std::time::Duration;

use anyhow::{Context, anyhow};

/// The unit of time in `/proc`, which Linux promises to programs whatever the kernel's own is.
const TICKS_PER_S: u64 = 100;

/// hstratum's threads in the node have names that begin so.
const THREADS: &str = "hstratum";

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time of all its threads, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Of that, what hstratum's own threads have used; zero in a process without such threads.
    pub(crate) threads_cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) resident_bytes: u64,
}

impl Usage {
    /// Looks at a process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |path: String| {
            fs::read_to_string(&path).with_context(|| format!("failed to read {path:?}"))
        };
        let status = read(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next());
        let resident_kib: u64 = resident
            .unwrap_or("0")
            .parse()
            .context("failed to read VmRSS")?;
        let (mut cpu, mut threads_cpu) = (Duration::ZERO, Duration::ZERO);
        let tasks = format!("/proc/{pid}/task");
        let tasks = fs::read_dir(&tasks).with_context(|| format!("failed to read {tasks:?}"))?;
        for task in tasks.flatten() {
            // A thread may end at any moment.
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
                continue;
            };
            let used = match fs::read_to_string(task.path().join("schedstat")) {
                Ok(text) => exact_cpu_of(&text)?,
                Err(_) => cpu_of(&stat)?,
            };
            cpu += used;
            let name = stat.split_once('(').map_or("", |(_, rest)| rest);
            if name.starts_with(THREADS) {
                threads_cpu += used;
            }
        }
        Ok(Self {
            cpu,
            threads_cpu,
            resident_bytes: resident_kib * 1024,
        })
    }
}

impl Usage {
    /// Looks at this process.
    pub(crate) fn own() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }

    /// The time used since an earlier look, and the memory now.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            threads_cpu: self.threads_cpu.saturating_sub(earlier.threads_cpu),
            resident_bytes: self.resident_bytes,
        }
    }
}

/// The first field of a `schedstat` file.
fn exact_cpu_of(text: &str) -> anyhow::Result<Duration> {
    let nanos = text.split_whitespace().next().map(str::parse);
    match nanos {
        Some(Ok(nanos)) => Ok(Duration::from_nanos(nanos)),
        _ => Err(anyhow!("failed to read processor time in {text:?}")),
    }
}

/// Fields 14 and 15 of a `stat` file; the second, a name, may hold anything.
fn cpu_of(stat: &str) -> anyhow::Result<Duration> {
    let ticks = || {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(user + system)
    };
    let ticks = ticks().ok_or_else(|| anyhow!("failed to read processor time in {stat:?}"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_after_a_name_that_looks_like_fields() {
        let stat = "7 (a) b 1 2) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(cpu_of(stat).expect("read"), Duration::from_secs(2));
        assert!(cpu_of("7 (a").is_err());
        let exact = exact_cpu_of("190688022 26180923 667\n");
        assert_eq!(exact.expect("read"), Duration::from_nanos(190_688_022));
    }

    #[test]
    fn own_process_uses_memory() {
        let usage = Usage::own().expect("this process is there");
        assert!(usage.resident_bytes > 100_000);
        assert!(usage.threads_cpu <= usage.cpu + Duration::from_millis(20));
    }
}
