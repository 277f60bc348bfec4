//! The machine's limits: memory, swap, and what the kernel promises when it does not overcommit.

use std::collections::BTreeMap;
use std::fs;

use super::{Limit, number};

/// Memory of the host, in bytes, by the names of /proc/meminfo.
struct MemInfo(BTreeMap<String, u64>);

impl MemInfo {
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let kib: u64 = value.split_ascii_whitespace().next()?.parse().ok()?;
            Some((name.to_owned(), kib.saturating_mul(1024)))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// Difference of two numbers.
    fn less(&self, name: &str, other: &str) -> Option<u64> {
        Some(self.get(name)?.saturating_sub(self.get(other)?))
    }
}

pub(super) fn limits() -> Vec<Limit> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    of(&MemInfo::parse(&text), number("/proc/sys/vm/overcommit_memory"))
}

fn of(info: &MemInfo, overcommit: Option<u64>) -> Vec<Limit> {
    let commit = Limit::bytes("commit").used(info.get("Committed_AS"));
    let commit = match overcommit {
        Some(2) => commit.limit(info.get("CommitLimit"), "vm.overcommit_memory = 2 (vm.overcommit_ratio)"),
        Some(mode) => commit.reason(&format!(
            "the kernel promises more memory than there is (vm.overcommit_memory = {mode})"
        )),
        None => commit.reason("/proc/sys/vm/overcommit_memory cannot be read"),
    };
    let swap = Limit::bytes("swap");
    let swap = match info.get("SwapTotal") {
        None => swap.reason("/proc/meminfo cannot be read"),
        Some(0) => swap.used(Some(0)).reason("the host has no swap"),
        total => swap.used(info.less("SwapTotal", "SwapFree")).limit(total, "swapon"),
    };
    let memory = Limit::bytes("host-memory").used(info.less("MemTotal", "MemAvailable"));
    let memory = match info.get("MemTotal") {
        None => memory.reason("/proc/meminfo cannot be read"),
        total => memory.limit(total, "the host's memory"),
    };
    vec![commit, swap, memory]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_host() {
        let text = "MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nCommitted_AS: 900 kB\nCommitLimit: 950 kB\n";
        let limits = of(&MemInfo::parse(text), Some(2));
        assert_eq!((limits[0].used, limits[0].limit), (Some(900 << 10), Some(950 << 10)));
        assert_eq!((limits[1].limit, limits[1].reason.as_deref()), (None, Some("the host has no swap")));
        assert_eq!((limits[2].used, limits[2].limit), (Some(600 << 10), Some(1000 << 10)));
        let limits = of(&MemInfo::parse("SwapTotal: 10 kB\nSwapFree: 4 kB\nCommitted_AS: 900 kB\n"), Some(1));
        assert_eq!((limits[0].limit, limits[0].used), (None, Some(900 << 10)));
        assert_eq!((limits[1].used, limits[1].limit), (Some(6 << 10), Some(10 << 10)));
        assert!(of(&MemInfo::parse(""), None).iter().all(|limit| limit.reason.is_some()));
    }
}
