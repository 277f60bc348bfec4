//! Resources that a running process takes, by the kernel's account.

use std::fs;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// CPU time that the process took so far, user and kernel.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name, in parentheses, may hold anything; utime and stime are the fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let (user, kernel) = ticks(11).zip(ticks(12)).context("/proc/PID/stat has no times")?;
    Ok(Duration::from_secs_f64((user + kernel) as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// (resident bytes now, at most so far).
pub(crate) fn resident_bytes(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let sizes = kib(&status, "VmRSS:").zip(kib(&status, "VmHWM:"));
    sizes.context("/proc/PID/status has no sizes")
}

/// Bytes of its address space.
pub(crate) fn virtual_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    kib(&status, "VmSize:").context("/proc/PID/status has no sizes")
}

/// Resident bytes to the page: what `resident_bytes` tells may lag behind by some pages of each CPU.
pub(crate) fn resident_bytes_exactly(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the process is gone")?;
    kib(&rollup, "Rss:").context("/proc/PID/smaps_rollup has no sizes")
}

/// The line `NAME  123 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// A process that ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Time from the call that waited for it to its end.
    pub(crate) time: Duration,
    /// CPU time and the most memory that it ever held, to within its last milliseconds.
    pub(crate) cpu_time: Duration,
    pub(crate) resident_peak_bytes: u64,
}

/// Waits for the end of a process, and watches what it takes until then.
pub(crate) fn watch(child: &mut Child) -> Result<Ended> {
    let begun = Instant::now();
    let (mut cpu, mut resident_peak_bytes) = (Duration::ZERO, 0);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended { status, time: begun.elapsed(), cpu_time: cpu, resident_peak_bytes });
        }
        // A zombie has no sizes any more.
        if let Ok((_, peak)) = resident_bytes(child.id()) {
            resident_peak_bytes = peak;
        }
        cpu = cpu_time(child.id()).unwrap_or(cpu).max(cpu);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_their_names() {
        let status = "Name:\tVmRSS:\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kib(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(kib(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kib(status, "VmSize:"), None);
    }
}
