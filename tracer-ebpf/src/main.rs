//! The BPF programs of `tracer`: allocator calls are paired and kept in a live table here, in the
//! kernel; what is rare and ordered goes into a ring buffer. ARCHITECTURE.md follows one call.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "BPF atomics are reachable through intrinsics alone")]

mod atomic;
mod config;
mod counters;
mod deadline;
mod emit;
mod in_flight;
mod live;
mod maps;
mod probes;
mod regs;
mod sampling;
mod stacks;
mod stop;
mod unwind;

/// A message of the programs' own, for who develops them: nothing in a release build, and never on the
/// way of an allocation.
macro_rules! log {
    ($ctx:expr, $($message:tt)+) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!($ctx, $($message)+);
        #[cfg(not(feature = "log"))]
        let _ = $ctx;
    };
}
pub(crate) use log;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses any program in which this can be reached.
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
