//! Shares of the CPUs: who had them during a load, the rest of the host included.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::process;
use crate::statistics::median;

/// CPU times of everybody since they began, s.
pub(super) struct Readings {
    clock_s: f64,
    pub(super) server_s: f64,
    load_s: f64,
    recorder_s: f64,
    busy_s: f64,
    interrupts_s: f64,
    stolen_s: f64,
}

impl Readings {
    /// Readings of this moment: of the server, the process that loads it, which is this one, and the recorder.
    pub(super) fn take(server: u32, recorder: Option<u32>) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let host = Host::of(&stat).context("/proc/stat has no times of all CPUs")?;
        let tick_s = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        let recorder = recorder.map(process::cpu_time).transpose()?;
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Ok(Self {
            clock_s: clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9,
            server_s: process::cpu_time(server)?.as_secs_f64(),
            load_s: process::cpu_time(std::process::id())?.as_secs_f64(),
            recorder_s: recorder.unwrap_or_default().as_secs_f64(),
            busy_s: host.busy as f64 * tick_s,
            interrupts_s: host.interrupts as f64 * tick_s,
            stolen_s: host.stolen as f64 * tick_s,
        })
    }

    /// Shares of the time since `before`.
    pub(super) fn since(&self, before: &Self) -> Shares {
        let elapsed_s = (self.clock_s - before.clock_s).max(1e-9);
        let percent = |of: fn(&Self) -> f64| 100.0 * (of(self) - of(before)) / elapsed_s;
        let known = |readings: &Self| readings.server_s + readings.load_s + readings.recorder_s;
        Shares {
            server: percent(|readings| readings.server_s),
            load: percent(|readings| readings.load_s),
            recorder: percent(|readings| readings.recorder_s),
            others: percent(|readings| readings.busy_s) - 100.0 * (known(self) - known(before)) / elapsed_s,
            interrupts: percent(|readings| readings.interrupts_s),
            stolen: percent(|readings| readings.stolen_s),
        }
    }
}

/// Percent of one CPU that each had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Shares {
    server: f64,
    load: f64,
    recorder: f64,
    /// All other processes, and the kernel's own threads.
    others: f64,
    interrupts: f64,
    /// Time that the machine under this one gave to others.
    stolen: f64,
}

impl Shares {
    /// Names of the columns, in the order of [`Self::percents`].
    pub(super) const NAMES: [&'static str; 6] =
        ["server", "load", "recorder", "other processes", "interrupts", "stolen by the host"];

    /// Percent of one CPU of each.
    pub(super) fn percents(&self) -> [f64; 6] {
        [self.server, self.load, self.recorder, self.others, self.interrupts, self.stolen]
    }

    /// The median of each.
    pub(super) fn median(all: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| median(&all.iter().map(value).collect::<Vec<_>>());
        Self {
            server: of(|shares| shares.server),
            load: of(|shares| shares.load),
            recorder: of(|shares| shares.recorder),
            others: of(|shares| shares.others),
            interrupts: of(|shares| shares.interrupts),
            stolen: of(|shares| shares.stolen),
        }
    }
}

/// Times of all CPUs together, in clock ticks.
#[derive(Debug, PartialEq)]
struct Host {
    /// User, nice and system.
    busy: u64,
    interrupts: u64,
    stolen: u64,
}

impl Host {
    fn of(stat: &str) -> Option<Self> {
        let times: Vec<u64> =
            stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().flat_map(str::parse).collect();
        // user, nice, system, idle, waiting for I/O, interrupts, soft interrupts, stolen.
        let &[user, nice, system, _, _, hard, soft, stolen, ..] = times.as_slice() else { return None };
        Some(Self { busy: user + nice + system, interrupts: hard + soft, stolen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_cpu_and_the_rest_is_others() {
        let readings = |clock_s, server_s, load_s, busy_s| Readings {
            clock_s,
            server_s,
            load_s,
            recorder_s: 0.0,
            busy_s,
            interrupts_s: 0.0,
            stolen_s: 0.0,
        };
        let shares = readings(14.0, 5.0, 3.0, 27.0).since(&readings(10.0, 1.0, 1.0, 20.0));
        assert_eq!(shares.percents(), [100.0, 50.0, 0.0, 25.0, 0.0, 0.0]);
    }

    #[test]
    fn times_of_the_host_are_in_its_first_line() {
        let stat = "cpu  10 20 30 1000 5 1 2 7 0 0\ncpu0 5 10 15 500 2 1 1 3 0 0\n";
        assert_eq!(Host::of(stat), Some(Host { busy: 60, interrupts: 3, stolen: 7 }));
        assert_eq!(Host::of("intr 5\n"), None);
    }
}
