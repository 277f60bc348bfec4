//! Memory that is touched for the first time: a sample of the page faults of the target that write.
//!
//! A fault is taken with a chance of one in a power of two, drawn for each by itself, and counts for so many. Which
//! power follows from how many were taken lately on that CPU: it is known before the draw, so sums are unbiased.

use aya_ebpf::{
    helpers::{bpf_ktime_get_ns, generated::bpf_get_prandom_u32},
    macros::{map, raw_tracepoint},
    maps::{Array, PerCpuArray},
    programs::RawTracePointContext,
};
use tracer_common::{
    arch::FAULT_WRITES,
    counter::Counter,
    record::{FaultRecord, kind},
    stack::StackId,
    table::Range,
};

use crate::{config, counters, emit, unwind};

/// Rate at which faults are taken on a CPU.
#[repr(C)]
struct Rate {
    /// Taken since then.
    since_ns: u64,
    taken: u32,
    /// Steps by which the interval is above [`SHORTEST_LOG2`], at most [`LONGER_MOST`].
    longer: u32,
}

#[map]
static FAULT_RATE: PerCpuArray<Rate> = PerCpuArray::with_max_entries(1, 0);

/// The Java heap, where faults are counted and not looked at. 0, 0: it is not known.
#[map]
static JAVA_HEAP: Array<Range> = Array::with_max_entries(1, 0);

/// Shortest interval: one fault in 16 is taken, to one in 256.
const SHORTEST_LOG2: u32 = 4;
const LONGER_MOST: u32 = 4;
/// Faults in a window above which the interval becomes twice as long, and below a quarter of which half as long.
const MANY: u32 = 32;
const WINDOW_NS: u64 = 250_000_000;

/// Lowest address that is ever mapped: a fault below is a null check.
const LOWEST: u64 = 1 << 16;

/// `page_fault_user`: (address, regs, error code), in the thread. It is called at the faults of every process.
#[raw_tracepoint]
pub fn page_fault_user(ctx: RawTracePointContext) -> i32 {
    if config::target_thread().is_none() {
        return 0;
    }
    let (address, error) = (ctx.arg::<u64>(0), ctx.arg::<u64>(2));
    if error & FAULT_WRITES != 0 && address >= LOWEST {
        touched(address);
    }
    0
}

#[inline(always)]
fn touched(address: u64) {
    counters::add(Counter::WriteFaults, 1);
    if let Some(heap) = JAVA_HEAP.get(0)
        && address >= heap.low
        && address < heap.high
    {
        counters::add(Counter::HeapWriteFaults, 1);
        return;
    }
    if let Some(log2) = draw() {
        let stack = unwind::capture_interrupted();
        send(address, stack, log2);
    }
}

/// Sends a fault. A function of its own: the record would lie on the BPF stack below a walk.
#[inline(never)]
fn send(address: u64, stack: StackId, log2: u32) {
    let mut record = FaultRecord { header: emit::header(kind::FAULT), address, stack };
    record.header.detail = log2;
    emit::send(&record);
}

/// Is this fault one of those that are taken? The logarithm of how many it counts for.
#[inline(always)]
fn draw() -> Option<u32> {
    let rate = FAULT_RATE.get_ptr_mut(0)?;
    // SAFETY: a valid map value; tracepoint programs of one CPU do not interrupt each other, and a number that is
    // lost only makes the interval shorter or longer.
    unsafe {
        let log2 = SHORTEST_LOG2 + (*rate).longer.min(LONGER_MOST);
        if bpf_get_prandom_u32() & ((1 << log2) - 1) != 0 {
            return None;
        }
        (*rate).taken += 1;
        let now_ns = bpf_ktime_get_ns();
        let is_over = now_ns.wrapping_sub((*rate).since_ns) >= WINDOW_NS;
        if (*rate).taken > MANY {
            (*rate).longer = ((*rate).longer + 1).min(LONGER_MOST);
        } else if is_over && (*rate).taken < MANY / 4 && (*rate).longer > 0 {
            (*rate).longer -= 1;
        }
        if is_over || (*rate).taken > MANY {
            (*rate).taken = 0;
            (*rate).since_ns = now_ns;
        }
        Some(log2)
    }
}
