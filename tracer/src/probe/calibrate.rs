//! The cost of a probe on this machine, on an instruction that the kernel emulates and on one that it steps a copy of.
//!
//! Measured in this process alone: a counting uprobe, scoped to the calling thread, on a function made for it. The trap
//! and the way past the instruction are nearly all that any uprobe costs.

use std::{arch::naked_asm, ffi::CStr, io, os::fd::OwnedFd};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{
    mapping_calls::{self, SeenAt},
    perf_event::{self, Scope},
};
use crate::process::{Pid, mapping, privilege};

/// A function to be probed. Its first instruction is stepped, as that of glibc's `free`; the one 3 bytes behind it is
/// emulated.
#[unsafe(naked)]
extern "sysv64" fn probed(_argument: u64) {
    naked_asm!("test rdi, rdi", "nop", "ret")
}

/// Offsets of the two places behind the function's start.
const STEPPED: u64 = 0;
const EMULATED: u64 = 3;

/// Batches of each kind in turn, of which the median is taken, and calls in a batch: a tenth of a second in all where
/// a trap is dear.
const BATCHES: usize = 9;
const CALLS: u32 = 500;
/// System calls in a batch: a millisecond or two.
const SYSTEM_CALLS: u32 = 10_000;

/// Path of this very file, whatever its path.
const SELF: &CStr = c"/proc/self/exe";

/// The cost of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    pub emulated_ns: u64,
    pub single_stepped_ns: u64,
    /// The place at which mapping calls are seen.
    pub mapping_calls: SeenAt,
    /// Time by which every system call of every process on the host is longer while tracepoints of system calls
    /// are attached to; `None` if it is not needed, or could not be measured.
    pub system_call_ns: Option<u64>,
}

impl Cost {
    /// Measures.
    ///
    /// # Errors
    /// The kernel lets this process set no probe on itself.
    pub fn measure() -> io::Result<Self> {
        let start = file_offset(probed as *const () as u64)?;
        let (mut emulated, mut stepped, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..BATCHES {
            bare.push(batch_ns());
            let probe = attach(start + EMULATED)?;
            emulated.push(batch_ns());
            drop(probe);
            let probe = attach(start + STEPPED)?;
            stepped.push(batch_ns());
            drop(probe);
        }
        let bare = median(bare);
        let cost = |batches| median(batches).saturating_sub(bare) / u64::from(CALLS);
        let mapping_calls = SeenAt::of_kernel();
        let system_call_ns = match mapping_calls {
            SeenAt::Functions => None,
            SeenAt::Tracepoints => system_call_ns()
                .map_err(|error| tracing::debug!(%error, "the cost of system calls was not measured"))
                .ok(),
        };
        Ok(Self {
            emulated_ns: cost(emulated),
            single_stepped_ns: cost(stepped),
            mapping_calls,
            system_call_ns,
        })
    }

    /// Factor by which a probe that is single-stepped is dearer.
    pub fn ratio(&self) -> f64 {
        self.single_stepped_ns as f64 / self.emulated_ns.max(1) as f64
    }
}

/// Time by which a system call is longer while one of the tracepoints is attached to at which mappings are seen: all
/// tasks take the slow way into the kernel then, whichever call they make.
fn system_call_ns() -> io::Result<u64> {
    let call_ns = || median((0..BATCHES).map(|_| system_calls_ns()).collect()) / u64::from(SYSTEM_CALLS);
    let bare_ns = call_ns();
    let event = mapping_calls::tracepoint_event()?;
    let traced_ns = call_ns();
    drop(event);
    Ok(traced_ns.saturating_sub(bare_ns))
}

/// CPU time of this thread for a batch of system calls.
fn system_calls_ns() -> u64 {
    let begun = thread_ns();
    for _ in 0..SYSTEM_CALLS {
        // SAFETY: it has no arguments, and only gives a number.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
    thread_ns().saturating_sub(begun)
}

/// The cost of traps, on an instruction that the kernel emulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrapCosts {
    pub entry_ns: u64,
    /// The trap of a function's return, beside the entry's.
    pub return_ns: u64,
}

/// Number of [`BATCHES`] below which a measurement is waited for.
const FEW_BATCHES: usize = 5;

impl TrapCosts {
    /// Measures, in some milliseconds; the probes take longer to go, which happens in a thread of its own.
    ///
    /// # Errors
    /// The kernel lets this process set no probe on itself.
    pub fn measure() -> io::Result<Self> {
        let place = file_offset(probed as *const () as u64)? + EMULATED;
        let call_ns = || median((0..FEW_BATCHES).map(|_| batch_ns()).collect()) / u64::from(CALLS);
        let bare_ns = call_ns();
        let entry = attach(place)?;
        let entered_ns = call_ns();
        let leave = perf_event::uprobe(SELF, place, true, Scope::ThisThread)?;
        let returned_ns = call_ns();
        // Where there is no thread to be had, this one waits for it.
        let _ = privilege::start_thread("calibrate", &[], move || drop((entry, leave)));
        Ok(Self {
            entry_ns: entered_ns.saturating_sub(bare_ns),
            return_ns: returned_ns.saturating_sub(entered_ns),
        })
    }
}

/// CPU time of this thread for a batch of calls: others' turns are not in it.
fn batch_ns() -> u64 {
    let begun = thread_ns();
    for call in 0..CALLS {
        probed(u64::from(call));
    }
    thread_ns().saturating_sub(begun)
}

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Offset in this program's file of the code at `address`.
fn file_offset(address: u64) -> io::Result<u64> {
    let mappings = mapping::read(Pid::own())?;
    let code = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address));
    code.map(|code| address - code.start + code.offset).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Sets a probe on this program's file for the calling thread; it is there until the result is dropped.
fn attach(offset: u64) -> io::Result<OwnedFd> {
    perf_event::uprobe(SELF, offset, false, Scope::ThisThread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Costs of both kinds of probes, in one test: a probe is a breakpoint in the very bytes.
    #[test]
    fn a_stepped_probe_costs_more_than_an_emulated_one() {
        let address = probed as *const () as u64;
        // SAFETY: the function's own five bytes.
        let code = unsafe { std::slice::from_raw_parts(address as *const u8, 5) };
        assert_eq!(code, [0x48, 0x85, 0xff, 0x90, 0xc3]);
        assert!(file_offset(address).is_ok());
        // Without the privilege there is nothing to measure.
        let Ok(cost) = Cost::measure() else { return };
        assert!(cost.emulated_ns > 50, "a trap takes longer than that: {cost:?}");
        assert!(cost.single_stepped_ns > cost.emulated_ns, "{cost:?}");
        println!("{cost:?}, {:.1} times", cost.ratio());
    }
}
