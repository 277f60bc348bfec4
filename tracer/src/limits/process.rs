//! The limits of a process and of its user: threads, mappings, address space.

use std::fs;

use super::{Limit, cgroup, number};
use crate::process::Pid;
use crate::process::target::Status;

/// Processes of a host that are looked at for the threads of one user.
const MAX_PROCESSES: usize = 1 << 15;

pub(super) fn limits(pid: Pid) -> Vec<Limit> {
    let own = fs::read_to_string(pid.path("limits")).unwrap_or_default();
    let status = fs::read_to_string(pid.path("status")).unwrap_or_default();
    let all_threads = all_threads(&fs::read_to_string("/proc/loadavg").unwrap_or_default());
    let kernel = |id: &str, name: &str| {
        let limit =
            Limit::count(id).used(all_threads).limit(number(format!("/proc/sys/kernel/{name}")), name);
        if limit.limit.is_none() { limit.reason("the kernel's setting cannot be read") } else { limit }
    };
    vec![
        cgroup::threads(pid),
        of_user(pid, &own, &status),
        kernel("threads:threads-max", "threads-max"),
        kernel("threads:pid-max", "pid_max"),
        mappings(pid),
        address_space(&own, &status),
    ]
}

/// RLIMIT_NPROC: all threads of the user; who may do everything is not limited.
fn of_user(pid: Pid, own: &str, status: &str) -> Limit {
    const CAP_SYS_ADMIN: u64 = 21;
    const CAP_SYS_RESOURCE: u64 = 24;
    let limit = Limit::count("threads:rlimit");
    let capabilities =
        field(status, "CapEff").and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    let is_root = Status::read(pid.leader()).is_ok_and(|status| status.uid == 0);
    if is_root || capabilities & (1 << CAP_SYS_ADMIN | 1 << CAP_SYS_RESOURCE) != 0 {
        return limit.reason("it does not bind this process: root, or a capability that exempts it");
    }
    match soft(own, "Max processes") {
        None => limit.reason("its limits cannot be read"),
        Some(None) => limit.reason("unlimited (ulimit -u)"),
        Some(most) => {
            let limit = limit.used(user_threads(pid)).limit(most, "ulimit -u (RLIMIT_NPROC)");
            if limit.used.is_none() { limit.reason("its user's threads cannot be counted") } else { limit }
        }
    }
}

/// Threads of all processes of the user that process `pid` runs as.
fn user_threads(pid: Pid) -> Option<u64> {
    let user_of = |text: &str| -> Option<u32> { field(text, "Uid")?.parse().ok() };
    let user = user_of(&fs::read_to_string(pid.path("status")).ok()?)?;
    let threads = Pid::all().take(MAX_PROCESSES).filter_map(|pid| {
        let text = fs::read_to_string(pid.path("status")).ok()?;
        (user_of(&text)? == user).then(|| field(&text, "Threads")?.parse::<u64>().ok())?
    });
    Some(threads.sum())
}

fn mappings(pid: Pid) -> Limit {
    let counted = || {
        let text = fs::read(pid.path("maps")).ok()?;
        Some(text.iter().filter(|byte| **byte == b'\n').count() as u64)
    };
    let limit = Limit::count("mappings").used(counted());
    let limit = limit.limit(number("/proc/sys/vm/max_map_count"), "vm.max_map_count");
    match (limit.used, limit.limit) {
        (None, _) => limit.reason("its mappings cannot be read"),
        (_, None) => limit.reason("the kernel's setting cannot be read"),
        _ => limit,
    }
}

fn address_space(own: &str, status: &str) -> Limit {
    let used =
        field(status, "VmSize").and_then(|text| text.parse::<u64>().ok()).map(|kib| kib.saturating_mul(1024));
    let limit = Limit::bytes("address-space").used(used);
    match soft(own, "Max address space") {
        None => limit.reason("its limits cannot be read"),
        Some(None) => limit.reason("unlimited (ulimit -v)"),
        Some(most) => limit.limit(most, "ulimit -v (RLIMIT_AS)"),
    }
}

/// The first word of a line of /proc/PID/status.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()
}

/// The soft limit of a line of /proc/PID/limits; Some(None): unlimited.
fn soft(text: &str, name: &str) -> Option<Option<u64>> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(None),
        word => word.parse().ok().map(Some),
    }
}

/// Threads of the whole host, of /proc/loadavg: `0.1 0.2 0.3 1/234 5678`.
fn all_threads(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             95979                95979                processes\n\
                      Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(soft(limits, "Max processes"), Some(Some(95_979)));
        assert_eq!(soft(limits, "Max address space"), Some(None));
        assert_eq!(soft("", "Max processes"), None);
        assert_eq!(field("Uid:\t1000\t0\t0\t0\nThreads:\t7\n", "Threads"), Some("7"));
        assert_eq!(all_threads("0.1 0.2 0.3 1/234 5678\n"), Some(234));
        let space = address_space("Max address space         1000 2000 bytes\n", "VmSize:\t  5 kB\n");
        assert_eq!((space.used, space.limit), (Some(5 << 10), Some(1000)));
    }
}
