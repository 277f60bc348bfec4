//! The machine that the numbers were measured on, and how busy it was.

use std::fs;

use serde::Serialize;

/// The machine that measured.
#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cpu_count: usize,
    virtual_machine: bool,
    kernel: String,
    /// Runnable tasks, averaged over a minute: before the measurement and after it.
    load_before: f64,
    load_after: f64,
}

impl Machine {
    /// Reads the machine's present state.
    pub(crate) fn read() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            cpu_info
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.trim() == name)
                .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        Self {
            cpu: field("model name"),
            cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: field("flags").split(' ').any(|flag| flag == "hypervisor"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load_before: load(),
            load_after: 0.0,
        }
    }

    /// Notes how busy the machine is when all is measured.
    pub(crate) fn done(mut self) -> Self {
        self.load_after = load();
        self
    }

    /// The machine in one line.
    pub(crate) fn describe(&self) -> String {
        let virtual_machine = if self.virtual_machine { " in a virtual machine" } else { "" };
        format!(
            "{} × {}{virtual_machine}, Linux {}; load average {:.2} before, {:.2} after",
            self.cpu_count, self.cpu, self.kernel, self.load_before, self.load_after
        )
    }
}

/// Conditions of a measurement with Java.
#[derive(Serialize)]
pub(crate) struct Conditions {
    machine: Machine,
    java: String,
    alternations: u32,
}

impl Conditions {
    /// Conditions of what was measured up to now.
    pub(crate) fn new(machine: Machine, java: String, alternations: u32) -> Self {
        Self { machine: machine.done(), java, alternations }
    }

    /// The conditions in three lines, of which the last can go on.
    pub(crate) fn describe(&self) -> String {
        format!("{}\n{}\nmedians of {}", self.machine.describe(), self.java, self.alternations)
    }
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}
